"""One writer at a time in a run directory; the kernel gives the lock back when its holder dies."""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import LockedError

POLL_S = 0.2


@contextmanager
def writer_lock(workdir: Path, name: str = ".lock", patience_s: float = 0.0) -> Iterator[None]:
    """Hold a lock of `workdir`. Raises LockedError, which says who holds it, since when, and what it runs.

    patience_s: how long to wait for whoever holds it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / name
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + patience_s
        while not _locked(descriptor):
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{workdir} is being written by {_holder(path)}", do="wait until it has ended, or stop that process"
                )
            time.sleep(POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_me()).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _me() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(Path(part).name if part == sys.argv[0] else part for part in sys.argv),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return "another process that is just starting"
    return f"process {holder['pid']} on {holder['host']} (`{holder['command']}`, since {holder['since']})"
