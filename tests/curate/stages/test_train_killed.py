"""Training that is killed goes on where it was: the same curve, the same weights; nothing else is taken up."""

import json
import os
import random
import re
import shutil
import signal

import pytest

from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from schemas.errors import StageError
from tests.commands import until
from tests.crashing import die_at, touches_of
from tests.curate.stages.killing import command
from tests.curate.stages.training import killed_at_step, steps_log, trained, untrained


@pytest.fixture(scope="module")
def expected(finished, tmp_path_factory):
    return trained(untrained(finished, tmp_path_factory.mktemp("undisturbed") / "run"))


def test_ten_kills_at_drawn_moments_change_no_byte(finished, expected, tmp_path):
    """Ten, or more until one falls into a save."""
    config = untrained(finished, tmp_path / "counted").folder / "pipelines.toml"
    touches = touches_of(config, "train")
    has_died_in_a_save = 0
    for number, touch in enumerate(random.Random(5).sample(range(touches // 8, touches), 30), start=1):
        pipeline = untrained(finished, tmp_path / f"killed-{touch}")
        die_at(pipeline.folder / "pipelines.toml", "train", touch)
        has_died_in_a_save += (pipeline.workdir / "train" / "checkpoints" / ".scratch").exists()
        assert trained(pipeline) == expected, f"after a kill at touch {touch} of {touches}"
        if number >= 10 and has_died_in_a_save:
            break
    assert has_died_in_a_save


def test_a_run_that_is_killed_within_steps_goes_on_after_its_newest_checkpoint(finished, expected, tmp_path):
    pipeline = untrained(finished, tmp_path / "run")
    killed_at_step(pipeline, 14)
    killed_at_step(pipeline, len(steps_log(pipeline)) + 4)
    assert trained(pipeline) == expected
    resumed = [line["step"] for line in steps_log(pipeline) if line.get("event") == "resumed"]
    assert len(resumed) >= 2
    assert all(step % 3 == 0 for step in resumed)


def test_checkpoints_go_when_the_stage_is_published(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run")
    trained(pipeline)
    assert not (pipeline.workdir / "train" / "checkpoints").exists()


def test_checkpoints_that_a_kill_left_behind_go_when_the_stage_is_found_done(finished, expected, tmp_path):
    pipeline = untrained(finished, tmp_path / "run")
    killed_at_step(pipeline, 9)
    kept = pipeline.workdir / "train" / "checkpoints"
    shutil.copytree(kept, tmp_path / "kept")
    trained(pipeline)
    shutil.copytree(tmp_path / "kept", kept)
    assert trained(pipeline) == expected
    assert not kept.exists()


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


DAMAGES = {
    "no optimiser": lambda folder: (folder / "optimiser-00000.safetensors").unlink(),
    "weights that are cut": lambda folder: cut(folder / "weights-00000.safetensors"),
    "weights of other bytes": lambda folder: (folder / "weights-00000.safetensors").write_bytes(
        b"\xff" * (folder / "weights-00000.safetensors").stat().st_size
    ),
    "a state that is cut": lambda folder: cut(folder / "state.json"),
    "an empty state": lambda folder: (folder / "state.json").write_text("{}"),
    "a list for a state": lambda folder: (folder / "state.json").write_text("[]"),
    "more steps than there are": lambda folder: (folder / "state.json").write_text(
        re.sub(r'^ "step": [0-9]+', ' "step": 99999', (folder / "state.json").read_text(), flags=re.MULTILINE)
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_refused_and_given_up_when_the_user_says(finished, expected, tmp_path, damage):
    pipeline = untrained(finished, tmp_path / "run", checkpoint_steps=6, checkpoints_kept=1)
    victim = command(pipeline, "train")
    saved = pipeline.workdir / "train" / "checkpoints"
    until(lambda: list(saved.glob("*-0*/state.json")))
    os.kill(victim.pid, signal.SIGKILL)
    victim.ended()
    damage(max(saved.glob("*-0*/state.json")).parent)
    with pytest.raises(StageError, match="is damaged|its curve another number") as refused:
        trained(pipeline)
    assert "--again" in refused.value.do
    assert trained(pipeline, again=True) == expected


def test_a_checkpoint_that_cannot_be_read_does_not_hinder_a_finished_stage(finished, expected, tmp_path):
    pipeline = untrained(finished, tmp_path / "run")
    trained(pipeline)
    folder = pipeline.workdir / "train" / "checkpoints" / "correct-00000003"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{")
    run_stage(pipeline, "train", lambda _: None, again=False)
    assert folder.exists()


def test_other_settings_are_refused_with_what_differs_until_the_user_says_again(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run")
    killed_at_step(pipeline, 9)
    config = pipeline.folder / "pipelines.toml"
    config.write_text(config.read_text().replace("epochs = 2", 'epochs = 1\nlr_peak = 0.001\ntemplate = "T3"'))
    other = read_pipeline(config)
    with pytest.raises(StageError) as refused:
        trained(other)
    for part in (
        "train.epochs: 2.0 there, 1.0 now",
        "train.lr_peak: null there, 0.001 now",
        "train.template:",
        "rows:",
    ):
        assert part in refused.value.what
    assert trained(other, again=True) == trained(
        untrained(finished, tmp_path / "fresh", epochs=1, lr_peak=0.001, template="T3")
    )


def test_checkpoints_of_another_training_survive_a_look_at_a_finished_one(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run")
    trained(pipeline)
    config = pipeline.folder / "pipelines.toml"
    before = config.read_text()
    config.write_text(before.replace("epochs = 2", "epochs = 4"))
    killed_at_step(read_pipeline(config), len(steps_log(pipeline)) + 9)
    config.write_text(before)
    trained(read_pipeline(config))
    assert (pipeline.workdir / "train" / "checkpoints").exists()


def test_settings_that_change_no_result_may_change_in_between(finished, expected, tmp_path):
    pipeline = untrained(finished, tmp_path / "run")
    killed_at_step(pipeline, 9)
    config = pipeline.folder / "pipelines.toml"
    config.write_text(config.read_text().replace("checkpoint_steps = 3", "checkpoint_steps = 5\ncheckpoints_kept = 1"))
    assert trained(read_pipeline(config)) == expected


def test_the_curve_holds_no_time_and_the_log_does(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run")
    trained(pipeline)
    (curve,) = (pipeline.workdir / "train").glob("data-*/curve.jsonl")
    lines = [json.loads(line) for line in curve.read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    held_out = [line for line in lines if "held_out_loss" in line]
    assert {line["phase"] for line in steps} == {"warm-up", "correct"}
    for phase in ("warm-up", "correct"):
        ends = {max(line["step"] for line in steps if (line["phase"], line["epoch"]) == (phase, one)) for one in (1, 2)}
        between = set(range(9, max(ends) + 1, 9))
        assert [line["step"] for line in held_out if line["phase"] == phase] == sorted(ends | between)
    assert held_out[-1]["held_out_loss"] < held_out[0]["held_out_loss"]
    assert all(0 < line["fill"] <= 1 and line["tokens"] > line["target_tokens"] > 0 for line in steps)
    timed = {"at", "seconds", "tokens_per_s", "peak_memory_bytes", "peak_process_bytes", "mfu"}
    assert all(not timed & line.keys() for line in lines)
    assert all(timed <= line.keys() for line in steps_log(pipeline) if "loss" in line)
