"""The loop on the paper's preset, its learning rate, and the figures of speed that it logs."""

import dataclasses
import json
import shutil

import pytest
import torch

from curate.training.loop import Aside, Point, train
from curate.training.packing import Step
from curate.training.settings import settings
from curate.training.speed import StepLog, Work, peak_flops, work_of
from curate.training.templates import TEMPLATES
from tests.curate.training import tiny


def curve(**given: object) -> list[Point]:
    made = settings("aligner-2b", TEMPLATES["T1"], 0.2, 1, "cpu", rows_per_step=8, lr_peak=1e-3, **given)
    return train(tiny.model(), tiny.rows(64), 2, made, "correct", lambda _: None)


def test_the_papers_preset_learns_in_steps_of_rows():
    points = curve()
    assert [point.rows for point in points] == [8] * 16
    assert points[-1].loss < points[0].loss
    assert max(point.lr for point in points) == 1e-3
    assert points[-1].lr < 1e-4


def test_activations_computed_twice_give_the_same_curve():
    assert curve(activation_checkpointing=True) == curve(activation_checkpointing=False)


@pytest.mark.filterwarnings("default")  # torch compiles with warnings of its own
def test_a_compiled_model_gives_the_same_curve_but_for_rounding():
    if shutil.which("g++") is None:
        pytest.skip("NOT COMPILED: torch.compile needs a C++ compiler on a CPU, and there is no g++")
    for one, other in zip(curve(compile=True), curve(compile=False), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)


def test_shorter_sequences_give_the_same_curve_but_for_rounding():
    long, short = curve(tokens_per_batch=8192), curve(tokens_per_batch=128)
    for one, other in zip(long, short, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert dataclasses.replace(one, loss=0.0, fill=0.0) == dataclasses.replace(other, loss=0.0, fill=0.0)


def test_the_log_gets_each_step_and_mends_a_torn_line(tmp_path):
    path = tmp_path / "steps.jsonl"
    path.write_text('{"step": 1}\n{"st')
    log = StepLog(path)
    made = settings("aligner-2b", TEMPLATES["T1"], 0.2, 1, "cpu", rows_per_step=8)
    train(tiny.model(), tiny.rows(16), 1, made, "correct", lambda _: None, Aside(log=log))
    log.close()
    lines = path.read_text().splitlines()
    assert lines[:2] == ['{"step": 1}', '{"st']
    assert [json.loads(line)["step"] for line in lines[2:]] == [1, 2]
    assert all(json.loads(line)["tokens_per_s"] > 0 for line in lines[2:])


def test_the_work_of_a_step_is_counted_by_hand():
    rows = tiny.rows(4)
    step = Step([rows], epoch=1, is_last=True)
    pairs = sum(len(row.ids) ** 2 for row in rows) / 2
    expected = 6 * (100 * step.tokens + 10 * step.target_tokens) + 12 * 8 * pairs
    assert Work(body=100, head=10, attention_width=8).flops(step) == expected


def test_input_embeddings_are_no_work_and_the_head_is():
    model = tiny.model()
    work = work_of(model)
    assert work.head == tiny.VOCABULARY * 64
    assert work.body == sum(one.numel() for one in model.parameters()) - 2 * work.head
    assert work.attention_width == 2 * 64
    assert peak_flops(torch.device("cpu")) is None
