"""The server: its knobs, what it saw, and its life in a thread."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from tests.llm_server.asked import Asked
from tests.llm_server.batches import Batch, Fate, StoredFile
from tests.llm_server.faults import Fault, check_shares
from tests.llm_server.limits import Limits
from tests.llm_server.routes import application

FATAL_KEY = "wrong-key"
_THREADS = 256
_STOP_S = 10.0


def nothing() -> None:
    """The hooks' default; costs no thread."""


def at_once() -> float:
    """The default of the latency."""
    return 0.0


class LLMServer:
    """Answers "Answer to: <last user text>" until told otherwise; every knob may be turned while it runs."""

    def __init__(self, port: int = 0) -> None:
        # What it saw.
        self.asked: Counter[str] = Counter()
        """Requests by prompt, refused ones too, so that double payment shows; batched ones count when submitted."""
        self.answered: Counter[str] = Counter()
        """Completions by prompt that a vendor would bill."""
        self.bodies: list[dict[str, Any]] = []
        self.rejected = 0
        """Requests over a limit."""
        self.suffered: dict[str, list[str]] = {}
        """Injected faults by prompt, in order."""
        self.batches: dict[str, Batch] = {}
        self.files: dict[str, StoredFile] = {}

        # What it answers.
        self.answer: Callable[[str], str] = lambda prompt: f"Answer to: {prompt}"
        self.finish_reason = "stop"
        """In OpenAI's words: stop, length or content_filter."""
        self.reports_model: str | None = None
        self.cached_tokens = 0
        """Prompt tokens that each reply reports as read from the cache, on top of the prompt's words."""
        self.before_answer: Callable[[], object] = nothing
        """Called in a thread before each answer; may block."""
        self.latency_s: Callable[[], float] = at_once

        # How it fails.
        self.faults: list[Fault] = []
        """(status, headers, body), each sent once instead of an answer; status 0 closes the connection."""
        self.inject_once = False
        self.seed = 0
        self.drip_s = 2.0
        self.drawn: Counter[str] = Counter()
        self._inject: dict[str, float] = {}

        # What it allows.
        self.requests_per_minute: float | None = None
        self.tokens_per_minute: float | None = None
        self.limit_capacity_s = 1.0
        """How many seconds' worth of a quota may pile up."""
        self.limits = Limits()

        # Batches.
        self.batch_polls = 1
        """How often a batch is reported as in progress before it ends."""
        self.batch_fates: Callable[[str, str], Fate] = lambda _custom_id, _prompt: "succeeded"
        self.batch_ends = "completed"
        """completed, expired, cancelled or failed."""
        self.batch_done_share = 0.5
        """Share of a batch's requests, from the first, that are done where it expires or is cancelled."""
        self.batch_requests_at_most = 50_000
        self.batch_error_status = 500
        """Status of a request whose fate is errored."""
        self.batch_faults: list[Fault] = []
        """As `faults`, for the endpoints of files and batches."""
        self.after_batch_submitted: Callable[[], object] = nothing
        """Called in a thread when a batch is registered and its reply not yet sent."""

        self._last_number = 0
        self._threads = ThreadPoolExecutor(_THREADS, "llm-server-hook")
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="llm-server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the server, without a path."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def inject(self) -> Mapping[str, float]:
        """Share of requests by the name of the fault that they suffer; see FAULT_NAMES.

        With `inject_once` each prompt suffers its fault when it is first asked, and no more.
        """
        return self._inject

    @inject.setter
    def inject(self, shares: Mapping[str, float]) -> None:
        check_shares(shares)
        self._inject = dict(shares)

    def stop(self) -> None:
        """Close the sockets and end the thread; what hangs is cancelled."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_STOP_S)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def note(self, asked: Asked) -> None:
        """Count a request."""
        self.asked[asked.prompt] += 1
        self.bodies.append(asked.body)

    def next_number(self) -> str:
        """The unique end of an id."""
        self._last_number += 1
        return f"{self._last_number:024x}"

    def refused_key(self, request: web.Request) -> str | None:
        """The request's key where it is the one that the server refuses."""
        key = request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        return key if key == FATAL_KEY else None

    async def call(self, hook: Callable[[], object]) -> None:
        """Run a hook in a thread, so that one that blocks does not hold up the others."""
        if hook is not nothing:
            await asyncio.get_running_loop().run_in_executor(self._threads, hook)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        runner = web.AppRunner(application(self), access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await runner.setup()
        await web.SockSite(runner, self._socket, backlog=1024).start()
        await self._stopping.wait()
        await runner.cleanup()
        await asyncio.sleep(0)  # lets closed transports go before the loop does


@contextmanager
def llm_server(port: int = 0) -> Iterator[LLMServer]:
    """A running server."""
    server = LLMServer(port)
    try:
        yield server
    finally:
        server.stop()
