"""No connection leaves the machine in a run that the configuration names no server for: every stage, hub settings unset.

The run's process, and every Python process that it starts, writes down each connection and each look-up of a name by
Python code, and refuses it. Where the system allows it, the run also has a network of its own with nothing in it, so
nothing that native code might try could succeed either.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.small import write_small_pipeline

HOOK = """
import os, sys

TO = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOOKED_UP = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
HERE = {"127.0.0.1", "::1", "localhost", "", None}


def hook(event, arguments):
    if event not in TO | LOOKED_UP:
        return
    where = arguments[1] if event in TO else arguments
    if not isinstance(where, tuple) or where[0] in HERE:  # a Unix socket has a path
        return
    with open(os.environ["TRIED"], "a") as file:
        file.write(f"{event} {where!r}\\n")
    raise OSError(f"no connection to {where!r} in this test")


sys.addaudithook(hook)
"""
"""A sitecustomize module."""

SETTINGS = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "SENTENCE_TRANSFORMERS_")
"""What could keep a library from the network without our code's doing: the run is without it."""


class Ended(NamedTuple):
    """A process that was watched. tried: its connections and look-ups, a line each."""

    code: int
    err: str
    tried: list[str]


def watched(folder: Path, *command: str) -> Ended:
    """Run Python under the hook."""
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    tried = folder / "tried"
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(SETTINGS) and not name.lower().endswith("_proxy")
    }
    own = {"TRIED": str(tried), "PYTHONPATH": f"{folder / 'hook'}:{ROOT}", "HF_HOME": str(folder / "hub")}
    apart = ["unshare", "--map-root-user", "--net"] if can_be_apart() else []
    line = [*apart, sys.executable, *command]
    done = subprocess.run(line, env={**kept, **own}, capture_output=True, text=True, check=False)
    return Ended(done.returncode, done.stderr, tried.read_text().splitlines() if tried.exists() else [])


def can_be_apart() -> bool:
    """Whether a process may have a network of its own."""
    try:
        done = subprocess.run(["unshare", "--map-root-user", "--net", "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def test_a_whole_run_connects_to_nothing_and_looks_up_no_name(tmp_path):
    config = write_small_pipeline(tmp_path)
    config.write_text(config.read_text().replace("epochs = 1\n", "epochs = 1\ntensorboard = true\n"))
    done = watched(tmp_path, "-m", "curate", "run", "-c", str(config))
    assert done.code == 0, done.err
    assert done.tried == []
    assert (tmp_path / "runs" / "small" / "evaluate" / "manifest.json").exists()
    if not can_be_apart():
        pytest.skip(
            "NOT TESTED WITHOUT A NETWORK: `unshare --map-root-user --net` is not allowed; Python's own calls were"
        )


@pytest.mark.parametrize(
    ("attempt", "told"),
    [
        ("socket.create_connection(('192.0.2.1', 80), 1)", "192.0.2.1"),
        ("socket.getaddrinfo('huggingface.co', 443)", "huggingface.co"),
        ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))", "192.0.2.1"),
        (
            "subprocess.run([sys.executable, '-c', 'import socket; socket.gethostbyname(\"huggingface.co\")'])",
            "huggingface.co",
        ),
    ],
)
def test_what_watches_a_run_sees_connections_and_look_ups(tmp_path, attempt, told):
    code = f"import socket, subprocess, sys\ntry: {attempt}\nexcept OSError: pass"
    done = watched(tmp_path, "-c", code)
    assert done.code == 0, done.err
    assert any(told in line for line in done.tried)
