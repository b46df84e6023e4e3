"""Training by several processes (torchrun, FSDP2 on gloo): the curve of one, resumed exactly, and none outlives the run."""

import contextlib
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from curate.store.run import RunStore
from schemas.errors import StageError
from tests.commands import LONGEST_S, until
from tests.curate.stages.killing import command
from tests.curate.stages.training import killed_at_step, steps_log, trained, untrained

SETTINGS = {
    "rows_per_step": 8,
    "tokens_per_step": None,
    "warmup_share": 0.5,
    "epochs": 3,
    "checkpoint_steps": 2,
    "device": "cpu",
}
WORKER = "curate.training.worker"


def curve(pipeline: Pipeline) -> list[dict[str, Any]]:
    text = RunStore(pipeline.workdir).file("train", "curve.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def samples(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    """Whose corrections were written when; their texts may differ by rounding."""
    return RunStore(pipeline.workdir).table("train", "samples").select("phase", "step", "triple_id").collect().rows()


def weights(pipeline: Pipeline) -> dict[str, Any]:
    return load_file(RunStore(pipeline.workdir).file("train", "aligner/model.safetensors"))


def workers(pipeline: Pipeline) -> list[int]:
    """Processes that train this pipeline."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if WORKER in words and any(word.startswith(str(pipeline.workdir)) for word in words):
            found.append(int(path.parent.name))
    return found


def until_step(pipeline: Pipeline, step: int) -> None:
    until(lambda: any(line.get("step", 0) >= step for line in whole_lines(pipeline)))


def whole_lines(pipeline: Pipeline) -> list[dict[str, Any]]:
    try:
        return steps_log(pipeline)
    except ValueError:  # the last line is being written
        return []


def agree(one: Pipeline, other: Pipeline) -> None:
    """Curves and weights equal but for rounding."""
    for mine, theirs in zip(curve(one), curve(other), strict=True):
        kind = "loss" if "loss" in mine else "held_out_loss"
        assert theirs.pop(kind) == pytest.approx(mine.pop(kind), rel=1e-4)
        assert {**mine, "fill": 0} == {**theirs, "fill": 0}
    assert samples(one) == samples(other)
    theirs = weights(other)
    for name, weight in weights(one).items():
        assert (theirs[name] - weight).abs().max() < 1e-3, name


@pytest.fixture(scope="module")
def one(finished, tmp_path_factory):
    pipeline = untrained(finished, tmp_path_factory.mktemp("one") / "run", **SETTINGS)
    trained(pipeline)
    return pipeline


@pytest.fixture(scope="module")
def two(finished, tmp_path_factory):
    """What two undisturbed processes publish."""
    pipeline = untrained(finished, tmp_path_factory.mktemp("two") / "run", **SETTINGS, processes=2)
    return pipeline, trained(pipeline)


def test_two_processes_have_the_curve_and_the_weights_of_one(one, two):
    agree(one, two[0])
    assert not (two[0].workdir / "train" / "job").exists()


def test_no_process_outlives_a_killed_run_and_the_next_one_ends_as_if_undisturbed(finished, two, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", **SETTINGS, processes=2)
    victim = command(pipeline, "train")
    until_step(pipeline, 3)
    assert len(workers(pipeline)) == 3  # torchrun's own process, and two that train
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.ended() == -signal.SIGKILL, victim.err
    until(lambda: not workers(pipeline))
    assert trained(pipeline) == two[1]
    assert any(line.get("event") == "resumed" for line in steps_log(pipeline))


@pytest.mark.parametrize("count", [1, 3])
def test_no_process_outlives_a_run_that_is_killed_while_they_start(finished, tmp_path, count):
    pipeline = untrained(finished, tmp_path / "run", **SETTINGS, processes=2)
    victim = command(pipeline, "train")
    until(lambda: len(workers(pipeline)) == count)
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.ended() == -signal.SIGKILL, victim.err
    until(lambda: not workers(pipeline))
    assert steps_log(pipeline) == []


def test_no_process_outlives_an_interrupted_run(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", **SETTINGS, processes=2)
    victim = command(pipeline, "train")
    until_step(pipeline, 3)
    os.kill(victim.pid, signal.SIGINT)
    assert victim.ended() not in {0, None}, victim.err
    until(lambda: not workers(pipeline))


def test_one_process_goes_on_with_what_two_have_saved(finished, one, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", **SETTINGS, processes=2)
    victim = command(pipeline, "train")
    until_step(pipeline, 3)
    (child, *_) = workers(pipeline)
    os.kill(child, signal.SIGKILL)
    assert victim.ended() == 1
    assert re.search(r"a process of the training ended early .*processes\.log", victim.err)
    config = pipeline.folder / "pipelines.toml"
    config.write_text(config.read_text().replace("processes = 2", "processes = 1"))
    trained(read_pipeline(config))
    agree(one, pipeline)


def test_two_processes_go_on_with_what_one_has_saved(finished, one, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", **SETTINGS)
    killed_at_step(pipeline, 8)
    assert list((pipeline.workdir / "train" / "checkpoints").glob("*/state.json"))
    config = pipeline.folder / "pipelines.toml"
    config.write_text(config.read_text().replace('device = "cpu"', 'device = "cpu"\nprocesses = 2'))
    trained(read_pipeline(config))
    agree(one, pipeline)


def test_what_stops_a_process_is_what_the_run_says(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", **SETTINGS, processes=2, lr_peak=1e30)
    with pytest.raises(StageError, match="the loss of step [0-9]+ .* nan"):
        trained(pipeline)


def test_a_rendezvous_that_is_taken_is_told_at_once(finished, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        pipeline = untrained(finished, tmp_path / "run", **SETTINGS, processes=1, machines=2, rendezvous=place)
        with pytest.raises(StageError, match=f"train.rendezvous {place} cannot be had"):
            trained(pipeline)


def free_port() -> int:
    """Below those that the system gives to any connection: seconds pass before it is listened on."""
    for port in random.Random(os.getpid()).sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def test_two_machines_train_together(finished, one, tmp_path):
    place = f"127.0.0.1:{free_port()}"
    pipeline = untrained(finished, tmp_path / "run", **SETTINGS, processes=1, machines=2, rendezvous=place)
    first = command(pipeline, "train")
    said = pipeline.folder / "stderr.txt"
    until(lambda: said.exists() and "start on each other machine: " in first.err)
    told = re.search(r"start on each other machine: torchrun (.*)", first.err)
    assert told is not None
    words = [sys.executable, "-m", "torch.distributed.run", *shlex.split(told[1])]
    other = subprocess.run(words, check=False, capture_output=True, timeout=LONGEST_S)
    assert (first.ended(), other.returncode) == (0, 0), (first.err, other.stderr.decode())
    assert re.search(r"correct: after step [0-9]+ \(epoch 3\) the held-out loss is [0-9.]+ nats/token\n", first.err)
    agree(one, pipeline)


def test_two_processes_train_the_adapters_that_one_trains(finished, tmp_path):
    base = str(RunStore(finished.workdir).file("train", "aligner"))
    keys = {**SETTINGS, "epochs": 1, "base": base, "lr_peak": 0.02, "lora": {"rank": 4}}
    one, two = (untrained(finished, tmp_path / str(processes), **keys, processes=processes) for processes in (1, 2))
    for pipeline in (one, two):
        trained(pipeline)
    agree(one, two)
    mine, theirs = (
        load_file(RunStore(p.workdir).file("train", "adapter/adapter_model.safetensors")) for p in (one, two)
    )
    for name, weight in mine.items():
        assert torch.allclose(theirs[name], weight, rtol=0, atol=1e-3), name
