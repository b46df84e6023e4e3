"""One line in the log and the counts of each request: no text, no key, no query."""

import logging
import time
from collections import Counter
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curate.serving.metrics import Metrics

LOG = logging.getLogger("curate.serving")
KEY = "curate.told"
ROUTES = {"/v1/chat/completions": "chat", "/v1/models": "models", "/health": "health", "/metrics": "metrics"}
CLIENT_LEFT = 499
"""What nginx logs where the client did not wait for the answer."""


@dataclass(slots=True)
class Told:
    """What becomes known of a request while it is answered; answers by what became of them."""

    status: int = 500
    answers: Counter[str] = field(default_factory=Counter)
    upstream_s: float = 0.0
    aligner_s: float = 0.0


class Telling:
    """Watches every request, to its last byte."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the inner application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = scope[KEY] = Told()
        started_s = time.monotonic()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                told.status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            told.status = CLIENT_LEFT
        finally:
            self._tell(scope, told, time.monotonic() - started_s)

    def _tell(self, scope: Scope, told: Told, seconds: float) -> None:
        route = ROUTES.get(scope["path"], "other")
        self._metrics.count("curate_requests_total", {"route": route, "status": str(told.status)})
        self._metrics.observe("curate_request_seconds", seconds)
        answers = "".join(f" {name}={count}" for name, count in sorted(told.answers.items()))
        LOG.info(
            "%s %s %d %.3fs upstream=%.3fs aligner=%.3fs%s",
            *(scope["method"], route, told.status, seconds, told.upstream_s, told.aligner_s, answers),
        )
