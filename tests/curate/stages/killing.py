"""Runs of a stage in a process of its own that is killed while its calls are at the servers."""

import os
import signal
import threading
import time

from curate.config.model import Pipeline
from tests.commands import Command


def command(pipeline: Pipeline, stage: str = "generate") -> Command:
    """A running `curate run --stage`."""
    config = str(pipeline.folder / "pipelines.toml")
    return Command("run", "--stage", stage, "-c", config, folder=pipeline.folder)


class Killer:
    """Kills its victim when so many requests are at the servers: the hook of their answers."""

    def __init__(self, stage: str = "generate") -> None:
        self._lock, self._left, self._pid, self._stage = threading.Lock(), 0, 0, stage

    def kill(self, pipeline: Pipeline, after: int) -> None:
        """Start a run and see it die."""
        self._left = after
        with self._lock:  # the victim's first request waits until its number is known
            victim = command(pipeline, self._stage)
            self._pid = victim.pid
        assert victim.ended() == -signal.SIGKILL, victim.err

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(self._pid, signal.SIGKILL)
        time.sleep(0.002)
