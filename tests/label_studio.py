"""A real Label Studio, for the tests that need one: its environment is made the first time, which takes minutes."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from annotators.label_studio.environment import cache_folder, installed_python
from annotators.label_studio.local import Server, running
from schemas.errors import LabelStudioError


def needs_label_studio() -> None:
    """Skip, and say so, where the server's environment is not there and no package index offers it."""
    try:
        installed_python(cache_folder())
    except LabelStudioError as error:
        pytest.skip(f"NOT TESTED ON A REAL LABEL STUDIO: {error}")


@contextmanager
def label_studio_server(folder: Path) -> Iterator[Server]:
    """A server on a fresh home in the folder."""
    needs_label_studio()
    with running(folder / "home") as server:
        yield server


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
