"""A model in parts over two processes has the losses and gradients of a whole one, and is saved as a whole one."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch

from curate.training import models
from curate.training.checkpoints import Checkpoints, Every
from curate.training.drafting import write
from curate.training.loop import held_out
from curate.training.ranks import ALONE, Ranks
from curate.training.sharding import hand_out
from tests.conftest import ROOT
from tests.curate.training import tiny
from tests.curate.training.two_processes import CPU, ROWS, SETTINGS, STEPS, gradients


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes wrote down what they found."""
    made = tmp_path_factory.mktemp("two")
    where = ["--standalone", "--nproc-per-node=2", "-m", "tests.curate.training.two_processes", str(made)]
    ran = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *where], cwd=ROOT, check=False, capture_output=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr.decode()[-4000:]
    return made


@pytest.fixture(scope="module")
def found(folder):
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def near(one: Any, other: Any) -> None:
    assert one[0] == pytest.approx(other[0], rel=0, abs=1e-5)
    assert one[1].keys() == other[1].keys()
    for name in one[1]:
        assert torch.allclose(torch.tensor(one[1][name]), torch.tensor(other[1][name]), rtol=0, atol=1e-5), name


@pytest.mark.parametrize("make", ["llama", "gemma"])
@pytest.mark.parametrize("step", [*STEPS, "activations twice"])
def test_loss_and_gradients_are_those_of_one_process(found, make, step):
    alone = gradients(tiny.model(make).train(), [ROWS], ALONE)
    for rank in found:
        near(rank[make][step], alone)


def stepped() -> tuple[Any, torch.optim.Optimizer]:
    model = tiny.model("gemma").train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    gradients(model, STEPS["8 x 4"], ALONE)
    optimiser.step()
    return model, optimiser


def test_each_process_holds_half_of_the_weights(found):
    assert [sum(rank["parts"]) for rank in found] == pytest.approx(
        [tiny.model("gemma").num_parameters() / 2] * 2, rel=0.01
    )


def test_what_cannot_be_packed_is_refused_and_what_is_compiled_is_found_in_parts_too(found):
    for rank in found:
        assert "attention of gptj cannot be packed" in rank["refused"]
        assert rank["layers"] == 2


def test_a_model_of_experts_whose_files_have_other_names_is_read_back(tmp_path):
    from transformers import MixtralConfig, MixtralForCausalLM

    shape = {**tiny.SHAPE, "num_key_value_heads": 2, "num_local_experts": 2}
    torch.manual_seed(0)
    model, other = (MixtralForCausalLM(MixtralConfig(**shape)) for _ in range(2))
    models.save(model, models.train_tokenizer(["a text"], 300), tmp_path)
    hand_out(models.load(str(tmp_path), CPU)[0], other, ALONE)
    for name, weight in model.named_parameters():
        assert torch.equal(other.get_parameter(name), weight), name


def test_held_out_loss_and_written_texts_are_those_of_one_process(found):
    model, _ = stepped()
    loss, rows, tokens = held_out(model, ROWS, SETTINGS, ALONE)
    written = [one.ids for batch in write(model, ROWS[:6], 12, 256) for one in batch]
    for rank in found:
        assert rank["held_out"] == [pytest.approx(loss, abs=1e-5), rows, tokens]
        assert rank["written"] == written


def test_two_processes_go_on_exactly_with_what_they_saved(found):
    assert all(rank["resumed exactly"] for rank in found)


def test_one_process_goes_on_with_what_two_saved(folder, found):
    model = tiny.model("gemma").train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    assert Checkpoints(folder / "checkpoints", {}, Every(None, None, 1)).resume("correct", model, optimiser)[0] == 1
    gradients(model, STEPS["8 x 4"], ALONE)
    optimiser.step()
    after = found[0]["after"]
    assert after.keys() == dict(model.named_parameters()).keys()
    for name, weight in model.named_parameters():
        assert torch.allclose(weight.flatten(), torch.tensor(after[name]), rtol=0, atol=1e-4), name


def test_a_model_in_parts_is_saved_as_transformers_reads_it(folder):
    loaded, _ = models.load(str(folder / "saved"), CPU)
    model, _ = stepped()
    for name, weight in model.named_parameters():
        assert torch.allclose(loaded.get_parameter(name), weight, rtol=0, atol=1e-4), name
    assert loaded.config.tie_word_embeddings == model.config.tie_word_embeddings


def test_where_items_run_out_a_process_takes_part_without_counting():
    assert [list(Ranks(rank, 3).share("abcd")) for rank in range(3)] == [
        [("a", True), ("d", True)],
        [("b", True), ("d", False)],
        [("c", True), ("d", False)],
    ]
    assert list(ALONE.share("ab")) == [("a", True), ("b", True)]
