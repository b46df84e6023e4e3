"""One writer at a time in a run directory; the kernel gives the lock back when its holder dies."""

import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import LockedError


@contextmanager
def writer_lock(workdir: Path) -> Iterator[None]:
    """Hold the lock of `workdir`. Raises LockedError, which says who holds it, since when, and what it runs."""
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / ".lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"{workdir} is being written by {_holder(path)}", do="wait until it has ended, or stop that process"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_me()).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


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
