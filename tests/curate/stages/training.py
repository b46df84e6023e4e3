"""Trainings of the small pipeline that are run, killed and read."""

import json
import os
import shutil
import signal
from pathlib import Path

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from tests.commands import until
from tests.conftest import published_hashes
from tests.curate.stages.conftest import toml
from tests.curate.stages.killing import command


def untrained(finished: Pipeline, folder: Path, **settings: object) -> Pipeline:
    """The small pipeline before its training, with many short steps and a checkpoint after every third."""
    shutil.copytree(finished.folder, folder)
    for stage in ("train", "evaluate"):
        shutil.rmtree(folder / "runs" / "small" / stage)
    keys = {"epochs": 2, "tokens_per_step": 256, "warmup_share": 0.5, "checkpoint_steps": 3}
    keys |= {"evaluate_steps": 9, "samples": 1, **settings}
    config = folder / "pipelines.toml"
    more = "".join(f"{name} = {toml(value)}\n" for name, value in keys.items() if value is not None)
    config.write_text(config.read_text().replace("epochs = 1\n", more).replace("samples = 2\n", ""))
    return read_pipeline(config)


def trained(pipeline: Pipeline, *, again: bool = False) -> dict[str, str]:
    """Run the stage in this process; hashes of all that is then published."""
    run_stage(pipeline, "train", lambda _: None, again=again)
    return published_hashes(pipeline.workdir / "train")


def steps_log(pipeline: Pipeline) -> list[dict[str, object]]:
    path = pipeline.workdir / "train" / "steps.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def killed_at_step(pipeline: Pipeline, step: int) -> None:
    """Start a training and kill it when its log holds so many lines."""
    victim = command(pipeline, "train")
    path = pipeline.workdir / "train" / "steps.jsonl"
    until(lambda: path.exists() and path.read_bytes().count(b"\n") >= step)
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.ended() == -signal.SIGKILL, victim.err
