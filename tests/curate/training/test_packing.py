"""Packed rows have the losses and gradients of single ones; sequences are full, and steps hold what they should."""

import dataclasses
import random

import pytest
import torch

from curate.training.attention import rows_apart
from curate.training.loop import accumulate, checkpoint_activations
from curate.training.losses import HEAD_TOKENS, row_losses, target_losses
from curate.training.packing import Step, pack_of, packed, steps_of
from curate.training.settings import Settings, settings
from curate.training.templates import TEMPLATES
from curate.training.tokens import TokenRow
from schemas.errors import StageError
from tests.curate.training import tiny

CPU = torch.device("cpu")


def alone(model, row: TokenRow) -> torch.Tensor:
    """The losses of one row by transformers' own forward pass and attention."""
    ids = torch.tensor([row.ids], device=next(model.parameters()).device)
    logits = model(input_ids=ids).logits[0, row.prompt_tokens - 1 : -1].float()
    return torch.nn.functional.cross_entropy(logits, ids[0, row.prompt_tokens :], reduction="none")


def gradient(model, packs: list[list[TokenRow]]) -> torch.Tensor:
    model.zero_grad()
    accumulate(model, Step(packs, epoch=1, is_last=True), CPU)
    return torch.cat([one.grad.flatten() for one in model.parameters()])


@pytest.mark.parametrize("make", ["llama", "gemma"])
@torch.no_grad()
def test_packed_losses_are_those_of_single_rows(make):
    model, rows = tiny.model(make).eval(), tiny.rows(32)
    with rows_apart(model):
        together = target_losses(model, pack_of(rows, CPU))
    assert torch.allclose(together, torch.cat([alone(model, row) for row in rows]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_stands_before_a_row_in_its_sequence_does_not_change_it():
    model, rows = tiny.model().eval(), tiny.rows(8)
    assert row_losses(model, rows, 1) == row_losses(model, rows[::-1], 10_000)


@torch.no_grad()
def test_a_sliding_window_ends_at_the_row_too():
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**tiny.SHAPE, num_key_value_heads=2, sliding_window=16)).eval()
    rows = tiny.rows(16)
    with rows_apart(model):
        together = target_losses(model, pack_of(rows, CPU))
    assert torch.allclose(together, torch.cat([alone(model, row) for row in rows]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", ["llama", "gemma"])
def test_gradients_of_32_rows_at_once_are_those_of_4_times_8(make):
    model, rows = tiny.model(make), tiny.rows(32)
    whole = gradient(model, [rows])
    assert whole.abs().max() > 1e-3
    assert torch.allclose(whole, gradient(model, [rows[n : n + 8] for n in range(0, 32, 8)]), rtol=0, atol=1e-5)


def test_activation_checkpointing_changes_no_gradient():
    model, rows = tiny.model().train(), tiny.rows(32)
    plain = gradient(model, [rows])
    checkpoint_activations(model, is_on=True)
    assert torch.equal(gradient(model, [rows]), plain)


def test_a_head_in_parts_gives_the_gradients_of_a_whole_one():
    model, rows = tiny.model(), tiny.rows(120)
    assert sum(row.target_tokens for row in rows) > HEAD_TOKENS
    halves = gradient(model, [rows[:60], rows[60:]])
    assert torch.allclose(gradient(model, [rows]), halves, rtol=0, atol=1e-5)


def test_the_first_token_of_a_row_carries_no_loss():
    pack = pack_of([TokenRow("a", [5, 6, 7], 0), TokenRow("b", [8, 9, 10], 1)], CPU)
    assert pack.targets.tolist() == [6, 7, 9, 10]
    assert pack.before.tolist() == [0, 1, 3, 4]
    assert pack.positions.tolist() == [[0, 1, 2, 0, 1, 2]]
    assert pack.bounds.tolist() == [0, 3, 6]


def test_after_the_block_the_model_attends_as_before():
    model = tiny.model()
    before = model.config._attn_implementation
    with rows_apart(model):
        assert model.config._attn_implementation != before
    assert model.config._attn_implementation == before


def test_a_model_with_capped_attention_is_refused():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    model = Gemma2ForCausalLM(Gemma2Config(**tiny.SHAPE, num_key_value_heads=2, head_dim=16))
    with pytest.raises(StageError, match="attention of gemma2 cannot be packed"), rows_apart(model):
        pass


def rows_of(*lengths: int) -> list[TokenRow]:
    return [TokenRow(str(number), list(range(length)), 1) for number, length in enumerate(lengths)]


def test_sequences_hold_every_row_once_within_their_tokens_and_are_full():
    draw = random.Random(1)
    rows = rows_of(*[draw.randint(20, 1000) for _ in range(2000)])
    made = packed(rows, 2048)
    sizes = [sum(len(row.ids) for row in pack) for pack in made]
    assert sorted(int(row.row_id) for pack in made for row in pack) == list(range(2000))
    assert max(sizes) <= 2048
    assert sum(sizes) / (2048 * len(sizes)) > 0.97
    assert made == packed(rows, 2048)


def test_a_row_longer_than_a_sequence_has_one_of_its_own():
    assert [[len(row.ids) for row in pack] for pack in packed(rows_of(5, 99, 5), 20)] == [[5, 5], [99]]


def test_no_rows_make_no_sequences():
    assert packed([], 10) == []


def made(**given: object) -> Settings:
    return settings("aligner-2b", TEMPLATES["T1"], 0.2, 1, "cpu", **given)


def test_a_step_of_the_papers_presets_has_256_rows():
    assert [dataclasses.replace(made(), base=None) == dataclasses.replace(one, base=None) for one in papers()] == [
        True
    ] * 3
    steps = steps_of(rows_of(*[30] * 512), 2, made(), "correct")
    assert [sum(len(pack) for pack in step.packs) for step in steps] == [256] * 4
    assert [(step.epoch, step.is_last) for step in steps] == [(1, False), (1, True), (2, False), (2, True)]
    assert (made().lr_peak, made().lr_warmup_share, made().epochs, made().max_tokens) == (2e-5, 0.03, 3.0, 2048)
    assert (made().betas, made().weight_decay) == ((0.9, 0.95), 0.0)


def papers() -> list[Settings]:
    return [settings(f"aligner-{size}b", TEMPLATES["T1"], 0.2, 1, "cpu") for size in (2, 7, 13)]


def test_rows_that_do_not_make_whole_steps_are_spread_evenly():
    steps = steps_of(rows_of(*[30] * 300), 1, made(), "correct")
    assert [sum(len(pack) for pack in step.packs) for step in steps] == [150, 150]


def test_a_step_by_tokens_has_as_many_sequences_as_make_them():
    given = made(tokens_per_step=400, tokens_per_batch=100)
    steps = steps_of(rows_of(*[50] * 64), 1, given, "correct")
    assert [[len(pack) for pack in step.packs] for step in steps] == [[2] * 4] * 8


def test_each_epoch_has_an_order_of_its_own_and_a_part_of_one_its_share():
    steps = steps_of(rows_of(*[50] * 100), 1.5, made(rows_per_step=10), "correct")
    order = [row.row_id for step in steps for pack in step.packs for row in pack]
    assert len(order) == 150
    assert sorted(order[:100]) == sorted({row.row_id for row in rows_of(*[50] * 100)})
    assert order[:50] != order[100:]


@pytest.mark.gpu
@pytest.mark.parametrize("make", ["llama", "gemma"])
@torch.no_grad()
def test_the_kernel_on_cuda_gives_the_losses_of_single_rows(make):
    if not torch.cuda.is_available():
        pytest.skip("NOT TESTED ON A GPU: torch sees no CUDA device, so its variable-length kernel was not proved here")
    model, rows = tiny.model(make).to("cuda").eval(), tiny.rows(32)
    with rows_apart(model):
        together = target_losses(model, pack_of(rows, torch.device("cuda")))
    with torch.autocast("cuda", torch.bfloat16):
        single = torch.cat([alone(model, row) for row in rows])
    assert torch.allclose(together, single, rtol=0, atol=0.05)
    assert torch.allclose(together.mean(), single.mean(), rtol=0, atol=2e-3)
