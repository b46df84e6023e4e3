"""Adapters learn and the base stays: packed, merged, saved alone, and refused where they cannot be."""

import dataclasses
import json
import sys

import pytest
import torch

from curate.training import lora, models
from curate.training.checkpoints import Checkpoints, Every
from curate.training.loop import accumulate, checkpoint_activations, train
from curate.training.losses import row_losses
from curate.training.packing import Step
from curate.training.settings import Lora, settings
from curate.training.speed import Work, work_of
from curate.training.templates import TEMPLATES
from schemas.errors import MissingExtraError, StageError
from tests.curate.training import tiny
from tests.curate.training.test_packing import CPU

IDS = torch.arange(40).reshape(2, 20)


def adapted(make: str = "llama", rank: int = 4, dropout: float = 0.0, targets=()):
    model = tiny.model(make)
    lora.adapt(model, Lora(rank, 8, dropout, targets), seed=1)
    return model


@torch.no_grad()
def logits(model):
    return model.eval()(input_ids=IDS).logits


def steps_of_8():
    return settings("aligner-2b", TEMPLATES["T1"], 0.2, 1, "cpu", rows_per_step=8, lr_peak=1e-2)


def trained(make: str = "llama"):
    model = adapted(make)
    return model, train(model, tiny.rows(64), 2, steps_of_8(), "correct", lambda _: None)


@pytest.mark.parametrize("make", ["llama", "gemma"])
def test_the_loss_falls_and_no_weight_of_the_base_moves(make):
    model, curve = trained(make)
    before = tiny.model(make).state_dict()
    after = {name.replace(".base_layer", ""): one for name, one in model.state_dict().items() if "lora_" not in name}
    assert curve[-1].loss < curve[0].loss - 0.01
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], one) for name, one in before.items())


@pytest.mark.parametrize("make", ["llama", "gemma"])
def test_what_is_saved_is_a_whole_model_that_writes_the_same(make, tmp_path):
    from transformers import AutoModelForCausalLM

    model, _ = trained(make)
    models.save(model, models.train_tokenizer(["some text"], 300), tmp_path)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert whole.dtype == torch.float32
    assert whole.state_dict().keys() == tiny.model(make).state_dict().keys()
    assert torch.allclose(logits(whole), logits(model), rtol=0, atol=1e-5)
    assert not torch.allclose(logits(whole), logits(tiny.model(make)), rtol=0, atol=1e-2)


def test_a_base_in_half_precision_is_merged_in_float32(tmp_path):
    from transformers import AutoModelForCausalLM

    model = tiny.model("gemma").to(torch.bfloat16)
    lora.adapt(model, Lora(4, 8, 0.0), seed=1)
    assert {one.dtype for one in model.parameters() if one.requires_grad} == {torch.float32}
    assert {one.dtype for one in model.parameters() if not one.requires_grad} == {torch.bfloat16}
    curve = train(model, tiny.rows(64), 2, steps_of_8(), "correct", lambda _: None)
    assert curve[-1].loss < curve[0].loss - 0.01
    models.save(model, models.train_tokenizer(["some text"], 300), tmp_path)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert whole.dtype == torch.float32
    assert torch.equal(whole.model.embed_tokens.weight, model.model.embed_tokens.weight.float())


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_peft_reads_the_adapter_alone(tmp_path):
    from peft import PeftModel

    model, _ = trained()
    lora.save(model, dict(model.named_parameters()), "some/base", tmp_path)
    told = json.loads((tmp_path / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == "some/base"
    assert told["target_modules"] == sorted(told["target_modules"])
    theirs = PeftModel.from_pretrained(tiny.model(), tmp_path)
    assert torch.equal(logits(theirs), logits(model))


@pytest.mark.gpu
def test_on_cuda_the_base_is_in_half_precision_and_adapters_learn(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("NOT TESTED ON A GPU: torch sees no CUDA device, so LoRA on a bf16 base was not proved here")
    models.save(tiny.model(), models.train_tokenizer(["some text"], 300), tmp_path)
    made = dataclasses.replace(steps_of_8(), base=str(tmp_path), lora=Lora(4, 8, 0.0))
    model = models.start_model(dataclasses.replace(made, device="cuda"), None).to("cuda")
    kinds = {(one.dtype, one.requires_grad) for one in model.parameters()}
    assert kinds == {(torch.bfloat16, False), (torch.float32, True)}
    curve = train(model, tiny.rows(64), 2, made, "correct", lambda _: None)
    assert curve[-1].loss < curve[0].loss - 0.01


def test_only_what_is_trained_goes_into_a_checkpoint_and_comes_back(tmp_path):
    from safetensors.torch import load_file

    model, _ = trained()
    checkpoints, optimiser = Checkpoints(tmp_path, {}, Every(None, None, 1)), adam(model)
    for one in optimiser.param_groups[0]["params"]:
        one.grad = torch.zeros_like(one)
    optimiser.step()
    checkpoints.save("correct", 1, model, optimiser, [])
    (kept,) = tmp_path.glob("*/weights-*.safetensors")
    assert {name.split(".")[-3] for name in load_file(kept)} == {"lora_A", "lora_B"}
    other = adapted()
    assert checkpoints.resume("correct", other, adam(other)) == (1, [])
    assert row_losses(other, tiny.rows(4), 256) == row_losses(model, tiny.rows(4), 256)


def test_a_saved_adapter_is_read_back(tmp_path):
    model, other = trained()[0], adapted()
    lora.save(model, dict(model.named_parameters()), "", tmp_path)
    lora.read(other, tmp_path)
    assert row_losses(other, tiny.rows(4), 256) == row_losses(model, tiny.rows(4), 256)


def adam(model):
    return torch.optim.AdamW([one for one in model.parameters() if one.requires_grad])


def gradient(model, packs):
    model.zero_grad()
    accumulate(model, Step(packs, epoch=1, is_last=True), CPU)
    return torch.cat([one.grad.flatten() for one in model.parameters() if one.requires_grad])


def test_packed_rows_and_activations_computed_twice_give_the_gradients_of_single_ones():
    model, rows = trained()[0].train(), tiny.rows(16)
    whole = gradient(model, [rows])
    assert whole.abs().max() > 1e-3
    assert torch.allclose(whole, gradient(model, [[row] for row in rows]), rtol=0, atol=1e-5)
    checkpoint_activations(model, is_on=True)
    assert torch.equal(gradient(model, [rows]), whole)


def test_dropout_is_drawn_while_it_trains_and_never_while_it_is_measured():
    model, rows = adapted(dropout=0.5), tiny.rows(8)
    for one in model.parameters():
        if one.requires_grad:
            torch.nn.init.normal_(one, std=0.1)
    torch.manual_seed(1)
    first = gradient(model.train(), [rows])
    assert not torch.equal(first, gradient(model, [rows]))
    assert row_losses(model, rows, 256) == row_losses(model, rows, 256)


def test_a_frozen_weight_costs_four_operations_a_token_and_an_adapter_six():
    model, rows = adapted(rank=4), tiny.rows(4)
    layer = 4 * ((64 + 64) + 2 * (64 + 32) + (64 + 64) + 3 * (64 + 128))  # q, k and v, o, three of the MLP
    plain = work_of(tiny.model())
    assert work_of(model) == Work(2 * layer, 0, plain.attention_width, plain.body, plain.head)
    step = Step([rows], epoch=1, is_last=True)
    pairs = sum(len(row.ids) ** 2 for row in rows) / 2
    expected = 6 * 7 * step.tokens + 4 * (100 * step.tokens + 10 * step.target_tokens) + 12 * 8 * pairs
    assert Work(7, 0, 8, frozen_body=100, frozen_head=10).flops(step) == expected


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("q_proj", "v_prj"), "names v_prj, and no layer of llama is called so"),
        (("q_prj",), "no adapters for llama: .*q_prj"),
        (("lm_head",), "name the embeddings or the head"),
        (("q_proj", "embed_tokens"), "name the embeddings or the head"),
    ],
)
def test_targets_that_cannot_be_adapted_are_refused(targets, message):
    with pytest.raises(StageError, match=message):
        adapted(targets=targets)


def test_targets_by_name_get_the_only_adapters():
    model = adapted(targets=("q_proj",))
    assert {name.split(".")[4] for name, one in model.named_parameters() if one.requires_grad} == {"q_proj"}


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "curate.training.lora")
    monkeypatch.setitem(sys.modules, "peft", None)
    made = settings("tiny", TEMPLATES["T1"], 0.2, 1, "cpu", base="no/such-base", lora=Lora(4, 8, 0.0))
    with pytest.raises(MissingExtraError, match='LoRA needs peft: install the "lora" extra'):
        models.start_model(made, None)
