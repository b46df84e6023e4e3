"""What the train stage does, publishes and logs beside the steps of the model."""

import json
from xml.etree import ElementTree

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from curate.report import rows
from curate.training import aligner
from curate.training.writing import write_corrections
from tests.curate.stages.training import killed_at_step, trained, untrained
from tests.curate.training.events import shown


def published(pipeline, name):
    (path,) = (pipeline.workdir / "train").glob(f"data-*/{name}")
    return path.read_text(encoding="utf-8")


def curve_of(pipeline):
    return [json.loads(line) for line in published(pipeline, "curve.jsonl").splitlines()]


def test_the_picture_of_the_curve_is_published_with_its_preset_release_and_last_loss(finished):
    root = ElementTree.fromstring(published(finished, "curve.svg"))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "Aligner (tiny), release 1.0.0"
    last = [line["loss"] for line in curve_of(finished) if "loss" in line][-1]
    assert f"training {last:.3g}" in texts


def test_the_largest_pack_of_all_phases_is_read_before_the_first_step(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", warmup_share=0.1)
    log, read = pipeline.workdir / "train" / "steps.jsonl", []

    def hook(module, inputs):
        if isinstance(module, torch.nn.Embedding) and torch.is_grad_enabled():
            read.append((log.read_bytes().count(b"\n") if log.exists() else 0, inputs[0].shape[1]))

    hooked = register_module_forward_pre_hook(hook)
    try:
        run_stage(pipeline, "train", lambda _: None, again=False)
    finally:
        hooked.remove()
    steps = [line["tokens"] for line in curve_of(pipeline) if "loss" in line]
    before = [tokens for done, tokens in read if not done][:-1]  # the last of these is that of step 1
    assert max(steps) in before
    assert len(before) <= 2
    assert [tokens for _, tokens in read[len(before) :]] == steps


def test_samples_are_what_the_aligner_writes_greedily_for_rows_to_change_and_to_leave(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", samples=4, evaluate_steps=4)
    trained(pipeline)
    samples = rows(pipeline, "samples", None, {}, None, changed=False)
    evaluations = [(line["phase"], line["step"]) for line in curve_of(pipeline) if "held_out_loss" in line]
    assert [(one["phase"], one["step"]) for one in samples] == [one for one in evaluations for _ in range(4)]
    last = samples[-4:]
    assert [one["is_identity"] for one in last].count(True) == 2
    (home,) = (pipeline.workdir / "train").glob("data-*")
    made = aligner.load(str(home / "aligner"), torch.device("cpu"))
    prompts = [made.template.prompt(one["question"], one["answer"]) for one in last]
    whole = write_corrections(made.model, made.tokenizer, prompts, 256, 4, lambda _: None)
    for one, text in zip(last, whole, strict=True):
        assert text == one["aligner_correction"] if one["has_ended"] else text.startswith(one["aligner_correction"])


def test_samples_and_tensorboard_change_no_step(finished, tmp_path):
    given = [
        {"samples": 0},
        {"samples": 3, "evaluate_steps": 2},
        {"samples": 3, "evaluate_steps": 2, "tensorboard": True},
    ]
    pipelines = [untrained(finished, tmp_path / str(number), **keys) for number, keys in enumerate(given)]
    without, with_samples, with_board = [trained(pipeline) for pipeline in pipelines]
    steps, others = ([line for line in curve_of(one) if "loss" in line] for one in pipelines[:2])
    assert steps == others
    assert with_samples == {name: one for name, one in with_board.items() if not name.startswith("tensorboard/")}
    weights = [next(one for name, one in hashes.items() if "aligner/model" in name) for hashes in (without, with_board)]
    assert weights[0] == weights[1]


def test_tensorboard_shows_each_step_of_a_killed_run_once(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", tensorboard=True)
    killed_at_step(pipeline, 14)
    trained(pipeline)
    for phase in ("warm-up", "correct"):
        lines = [line for line in curve_of(pipeline) if line["phase"] == phase]
        board = shown(pipeline.workdir / "train" / "tensorboard" / phase)
        for tag, name in (("loss/training", "loss"), ("loss/held_out", "held_out_loss"), ("learning_rate", "lr")):
            expected = [(line["step"], line[name]) for line in lines if name in line]
            assert [step for step, _ in board[tag]] == [step for step, _ in expected]
            assert [value for _, value in board[tag]] == pytest.approx([value for _, value in expected])
        assert len(board["speed/tokens_per_s"]) == len(board["loss/training"])


def test_a_release_without_validation_rows_has_no_samples(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run")
    config = pipeline.folder / "pipelines.toml"
    config.write_text(config.read_text().replace("validation_share = 0.2", "validation_share = 0.0"))
    pipeline = read_pipeline(config)
    for stage in ("release", "train"):
        run_stage(pipeline, stage, lambda _: None, again=False)
    assert rows(pipeline, "samples", None, {}, None, changed=False) == []
    assert not [line for line in curve_of(pipeline) if "held_out_loss" in line]
