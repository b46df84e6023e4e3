"""The endpoint from the loading of its Aligners to the signal that ends it."""

import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import uvicorn

from curate.serving.app import make_app
from curate.serving.settings import Settings
from curate.serving.telling import LOG
from curate.training import models
from curate.training.aligner import Aligner, load
from curate.training.folder import read_aligner_template
from schemas.errors import UsageError


def load_all(folders: Sequence[str], device: str) -> list[Aligner]:
    """The Aligners in order. Raises StageError where one is none, before any weights are read."""
    from pathlib import Path

    for folder in folders:
        read_aligner_template(Path(folder))
    chosen = models.chosen_device(device)
    return [load(folder, chosen) for folder in folders]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises UsageError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # asyncio sets TCP_NODELAY by its protocol
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise UsageError(
            f"nothing can listen on {host} port {port}: {error.strerror or error}", do="name another --host or --port"
        ) from error
    return listening


def serve(aligners: Sequence[Aligner], settings: Settings, listening: socket.socket, say: Callable[[], None]) -> None:
    """Answer until SIGTERM or Ctrl-C; then finish what is in the house, at most for `settings.shutdown_s`.

    say: called once, when requests are answered.
    """
    _log_to_stderr()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ended)  # uvicorn raises the signal again when it has ended by it
    config = uvicorn.Config(
        make_app(aligners, settings),
        log_config=None,
        access_log=False,
        http="h11",
        ws="none",
        loop="asyncio",
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_s),
    )
    _Server(config, say).run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, say: Callable[[], None]) -> None:
        super().__init__(config)
        self._say = say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._say()


def _ended(_number: int, _frame: object) -> None:
    pass


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
