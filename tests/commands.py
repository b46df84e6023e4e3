"""`curate` in a process of its own that starts in milliseconds, so that tests may kill and interrupt it often."""

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.crashing import PRELOADED

LONGEST_S = 180.0


class Command:
    """A running `curate …`; its two streams go to files that may be read at any time."""

    def __init__(self, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._streams = folder / "stdout.txt", folder / "stderr.txt"
        paths = [str(path) for path in self._streams]
        self.process = context.Process(target=_run, args=(["curate", *arguments], paths, dict(environment or {})))
        self.process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def out(self) -> str:
        """What it wrote to stdout so far."""
        return self._streams[0].read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it wrote to stderr so far."""
        return self._streams[1].read_text(encoding="utf-8")

    def ended(self) -> int | None:
        """Its exit code, when it has ended; one that does not end is killed and gives None."""
        self.process.join(LONGEST_S)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            return None
        return self.process.exitcode


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; an assertion fails where that does not come."""
    deadline = time.monotonic() + LONGEST_S
    while not is_so():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.005)


def _run(argv: list[str], streams: list[str], environment: dict[str, str]) -> None:
    from curate.cli import main

    os.environ.update(environment)
    sys.argv = argv
    with (
        Path(streams[0]).open("w", encoding="utf-8", buffering=1) as out,
        Path(streams[1]).open("w", encoding="utf-8", buffering=1) as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        main()
