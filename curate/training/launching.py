"""Starts the processes of a training by torchrun, waits for them, and says what they say."""

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.identity import content_id
from curate.training.parent import PARENT, die_with_parent
from curate.training.places import LOG
from curate.training.worker import ERRORS
from schemas.errors import StageError


@dataclass(frozen=True, slots=True)
class Processes:
    """How many train together. each: on one machine. rendezvous: "host:port" on the first of several machines."""

    each: int
    machines: int = 1
    rendezvous: str | None = None

    @property
    def count(self) -> int:
        """Of all machines."""
        return self.each * self.machines

    def __str__(self) -> str:
        where = f" on each of {self.machines} machines" if self.machines > 1 else ""
        return "" if self.count == 1 else f", {self.each} processes{where},"

    def check(self) -> None:
        """Raises StageError where the rendezvous is no free port of this machine."""
        if self.machines == 1 or self.rendezvous is None:
            return
        host, _, port = self.rendezvous.rpartition(":")
        try:
            with socket.create_server((host.strip("[]"), int(port)), family=_family(host)):
                return
        except (OSError, OverflowError) as error:
            raise StageError(
                f"train.rendezvous {self.rendezvous} cannot be had: {error}",
                do="name this machine and a free port of it, such as node-1:29400",
            ) from error

    def command(self, folder: Path) -> list[str]:
        """What each machine runs: torchrun and the job's folder, which all machines must see."""
        where = ["--standalone"]
        if self.machines > 1:
            job_id = content_id("job", [str(folder), self.machines])[:16]
            where = [f"--nnodes={self.machines}", "--rdzv-backend=c10d", f"--rdzv-endpoint={self.rendezvous}"]
            where.append(f"--rdzv-id={job_id}")
        own = [f"--nproc-per-node={self.each}", f"--log-dir={folder / 'logs'}"]
        return [*where, *own, "-m", "curate.training.worker", str(folder)]


def launch(processes: Processes, folder: Path, note: Callable[[str], None], say: Callable[[str], None]) -> None:
    """Have the job in a folder done. note: for what must be seen; say: for how far it is.

    Whatever else the processes print goes to `processes.log` beside the folder. Raises StageError.
    """
    folder = folder.absolute()
    processes.check()
    command = processes.command(folder)
    if processes.machines > 1:
        note(f"start on each other machine: torchrun {shlex.join(command)}")
        note(f"waiting for {processes.machines - 1} more")
    path = folder.parent / LOG
    own = [sys.executable, "-m", "curate.training.launching", *command]
    environment = {**os.environ, PARENT: str(os.getpid())}
    with (
        path.open("ab") as log,
        subprocess.Popen(own, stdout=subprocess.PIPE, stderr=log, env=environment) as agent,  # noqa: S603 - our own words
        ExitStack() as interrupted,
    ):
        interrupted.callback(agent.terminate)
        for line in agent.stdout or ():
            match _told(line):
                case str(text):
                    say(text)
                case {"note": str(text)}:
                    note(text)
                case _:
                    log.write(line)
        interrupted.pop_all()  # it ends by itself
    if agent.returncode != 0:
        raise _error(folder, path, agent.returncode)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _told(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _error(folder: Path, log: Path, returncode: int) -> StageError:
    if told := sorted(folder.glob(ERRORS.format("*"))):
        return StageError(**json.loads(told[0].read_text(encoding="utf-8")))
    return StageError(
        f"train: a process of the training ended early (torchrun: {returncode}); what it said last is in {log}",
        do="mend it and run again: the training goes on from its newest checkpoint",
    )


if __name__ == "__main__":
    die_with_parent()
    os.environ[PARENT] = str(os.getpid())
    from torch.distributed.run import main as torchrun

    torchrun(sys.argv[1:])
