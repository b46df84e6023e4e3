"""The largest packs run once before the first step: nothing stays of it, and what does not fit is told in words."""

import pytest
import torch

from curate.training.loop import train
from curate.training.packing import Step, steps_of
from curate.training.rehearsal import rehearse
from curate.training.settings import Settings, settings
from curate.training.templates import TEMPLATES
from curate.training.tokens import TokenRow
from schemas.errors import StageError
from tests.curate.training import tiny


def made(device: str = "cpu", **given: object) -> Settings:
    return settings("aligner-2b", TEMPLATES["T1"], 0.2, 1, device, rows_per_step=8, tokens_per_batch=128, **given)


def row(tokens: int, prompt_tokens: int) -> TokenRow:
    return TokenRow(f"{tokens}", [5] * tokens, prompt_tokens)


def of_dropout() -> torch.nn.Module:
    model = tiny.model()
    model.model.norm = torch.nn.Sequential(model.model.norm, torch.nn.Dropout(0.2))
    return model


def seen_tokens(model: torch.nn.Module) -> list[int]:
    """Filled with the length of each sequence that the model reads."""
    seen: list[int] = []
    model.model.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    return seen


def test_the_packs_with_most_targets_and_most_tokens_are_what_runs():
    model = tiny.model()
    seen = seen_tokens(model)
    packs = [[row(30, 1)], [row(90, 80), row(20, 10)], [row(60, 1)], [row(50, 20)]]
    rehearse(model, [Step(packs[:2], 1, is_last=False), Step(packs[2:], 1, is_last=True)], made())
    assert seen == [60, 110]


def test_a_pack_that_has_most_of_both_runs_once():
    model = tiny.model()
    seen = seen_tokens(model)
    rehearse(model, [Step([[row(30, 1)], [row(90, 5)]], 1, is_last=True)], made())
    assert seen == [90]


@pytest.mark.parametrize("is_twice", [True, False])
def test_weights_gradients_and_random_numbers_are_as_before(is_twice):
    model, given = of_dropout(), made(activation_checkpointing=is_twice)
    before, state = {name: one.clone() for name, one in model.state_dict().items()}, torch.get_rng_state()
    rehearse(model, steps_of(tiny.rows(64), 1, given, "correct"), given)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert all(one.grad is None for one in model.parameters())


def test_a_rehearsed_training_has_the_same_curve():
    curves = []
    for is_rehearsed in (True, False):
        model, given = of_dropout(), made()
        if is_rehearsed:
            rehearse(model, steps_of(tiny.rows(64), 1, given, "correct"), given)
        curves.append(train(model, tiny.rows(64), 1, given, "correct", lambda _: None))
    assert curves[0] == curves[1]


def test_a_pack_that_does_not_fit_is_told_with_its_size_and_what_to_lower():
    model, given = tiny.model(), made()
    steps = steps_of(tiny.rows(64), 1, given, "correct")
    largest = max(sum(len(row.ids) for row in pack) for step in steps for pack in step.packs)

    def out_of_memory(_, __, ids: dict[str, torch.Tensor]) -> None:
        if ids["input_ids"].shape[1] == largest:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free. See docs"
            )

    model.model.register_forward_pre_hook(out_of_memory, with_kwargs=True)
    with pytest.raises(StageError) as refused:
        rehearse(model, steps, given)
    assert f"a pack of {largest} tokens" in refused.value.what
    assert "Tried to allocate 2.00 GiB" in refused.value.what
    assert "train.tokens_per_batch" in refused.value.do
    with pytest.raises(StageError, match="too little memory for a pack of"):
        train(model, tiny.rows(64), 1, given, "correct", lambda _: None)


@pytest.mark.gpu
def test_memory_that_is_really_too_small_is_found_before_the_first_step():
    if not torch.cuda.is_available():
        pytest.skip("NOT TESTED ON A GPU: torch sees no CUDA device")
    model, given = tiny.model().cuda(), made("cuda", max_tokens=512)
    steps = [Step([[row(500, 1)] * 400], 1, is_last=True)]
    highest = rehearse(model, steps, given)
    assert highest is not None
    assert torch.cuda.max_memory_allocated() < highest
    room = highest / 2 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(room)
    try:
        with pytest.raises(StageError, match=r"a pack of 200,000 tokens, 199,600 of them targets"):
            rehearse(model, steps, given)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
