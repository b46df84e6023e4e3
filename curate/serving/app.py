"""The routes. Every request is one task, which ends when its client leaves."""

import asyncio
import hmac
import json
import math
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from curate.serving.asked import Asked, json_object, read_asked
from curate.serving.completing import CHAT, Completed, Completing
from curate.serving.correcting import Corrector
from curate.serving.metrics import Metrics
from curate.serving.refusals import RefusedError, error_body
from curate.serving.settings import Settings
from curate.serving.streaming import WAITING, event, event_of_error, events
from curate.serving.telling import KEY, Telling, Told
from curate.serving.upstream import Flow, Headers, Reply, Upstream
from curate.training.aligner import Aligner

EVENT_STREAM = "text/event-stream"
NEVER_PASSED = ("chat/completions", "completions", "responses", "messages")
"""Paths that give texts of the model: passed on, they would go around the Aligner."""
PLAIN_PATH = re.compile(r"[\w./:@+,=~-]*", re.ASCII)
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
READ_ON = 8
"""A body that is too long is read up to so many times the limit, so that its sender gets to read our answer."""

T = TypeVar("T")


class Endpoint:
    """What the routes share."""

    def __init__(self, settings: Settings, upstream: Upstream, corrector: Corrector, metrics: Metrics) -> None:
        self._settings, self._upstream, self._corrector, self._metrics = settings, upstream, corrector, metrics
        self._completing = Completing(settings, upstream, corrector, metrics)
        self._inside = 0

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        self._check_key(request)
        asked = read_asked(await self._body(request), self._settings.instruction)
        told: Told = request.scope[KEY]
        headers = request.headers.raw
        if asked.is_off:
            told.answers["off"] += 1
            work = self._begin(lambda: self._upstream.open("POST", CHAT, headers, asked.sent))
            return _passed(await _result(work, request))
        completing = self._begin(lambda: self._completing.complete(asked, headers, told))
        if not asked.is_streamed:
            done = await _result(completing, request)
            return _response(done.reply) if done.completion is None else _json(done.completion, done.reply)
        await _wait(completing, request, self._settings.keep_alive_s)
        if not completing.done():
            return _stream(self._late_events(completing, asked), [])
        done = completing.result()
        if done.completion is None:
            return _response(done.reply)
        body = b"".join(events(done.completion, wants_usage=asked.wants_usage))
        return _whole(body, done.reply.headers, EVENT_STREAM)

    async def other(self, request: Request) -> Response:
        """Any other path under /v1, passed on as it is, but those that would go around the Aligner."""
        self._check_key(request)
        path = request.scope["raw_path"].decode("ascii", errors="replace").removeprefix("/v1")
        if leads_around(unquote(path)):
            what = "Only POST /v1/chat/completions gives texts here: the Aligner corrects chat completions."
            raise RefusedError(404, "not_corrected", what)
        query = request.scope["query_string"].decode("ascii", errors="replace")
        body = await self._body(request)
        asked = f"{path}?{query}" if query else path
        work = self._begin(lambda: self._upstream.open(request.method, asked, request.headers.raw, body))
        return _passed(await _result(work, request))

    async def health(self, _: Request) -> Response:
        """GET /health: 200 while the Aligner works, whether or not the upstream can be reached."""
        works = self._corrector.is_alive
        found = {
            "status": "ok" if works else "failed",
            "aligner": "loaded" if works else "stopped",
            "upstream": "reachable" if await self._upstream.is_reachable() else "unreachable",
        }
        return JSONResponse(found, 200 if works else 503)

    async def metrics(self, _: Request) -> Response:
        """GET /metrics."""
        return Response(self._metrics.text(self._inside), media_type="text/plain; version=0.0.4")

    def _check_key(self, request: Request) -> None:
        """Raises RefusedError (401) where clients need a key of this endpoint, and this one has none."""
        wanted = self._settings.client_key
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_given = scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), (wanted or "").encode())
        if wanted is not None and not is_given:
            raise RefusedError(401, "invalid_api_key", "This endpoint wants a key of its own, and got none or another.")

    def _begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
        """Start work that counts as a request in the house. Raises RefusedError (429) where the house is full."""
        if self._inside >= self._settings.waiting_at_most:
            rounds = self._inside / self._settings.batch_rows
            retry_after_s = max(1, math.ceil(rounds * self._corrector.last_batch_s))
            what = f"{self._inside} requests wait already. Try again in {retry_after_s} s."
            raise RefusedError(429, "too_many_waiting", what, {"Retry-After": str(retry_after_s)})
        self._inside += 1
        task = asyncio.create_task(work())
        task.add_done_callback(self._leave)
        return task

    def _leave(self, task: "asyncio.Task[Any]") -> None:
        self._inside -= 1
        if not task.cancelled():
            task.exception()  # looked at: nobody may be left to await it

    async def _late_events(self, work: "asyncio.Task[Completed]", asked: Asked) -> AsyncIterator[bytes]:
        """Comments while the work goes on, then its events; an error is an event, as the status is sent already."""
        try:
            while not work.done():
                yield WAITING
                await asyncio.wait({work}, timeout=self._settings.keep_alive_s)
            done = work.result()
        except RefusedError as error:
            yield event_of_error(error)
            return
        finally:
            work.cancel()
        if done.completion is not None:
            for one in events(done.completion, wants_usage=asked.wants_usage):
                yield one
        elif (told := json_object(done.reply.content)) is not None and "error" in told:
            yield event(told)
        else:
            what = f"The upstream model's server answered with status {done.reply.status}."
            yield event_of_error(RefusedError(502, "upstream_failed", what))

    async def _body(self, request: Request) -> bytes:
        """The body. Raises RefusedError (413) where it is too long."""
        pieces, size, at_most = [], 0, self._settings.body_bytes_at_most
        async for piece in request.stream():
            size += len(piece)
            if size <= at_most:
                pieces.append(piece)
            elif size > READ_ON * at_most:
                break
        if size > at_most:
            raise RefusedError(413, "body_too_long", f"The body is longer than {at_most:,} bytes.")
        return b"".join(pieces)


def make_app(aligners: Sequence[Aligner], settings: Settings) -> Starlette:
    """The application; its Aligners work from start-up to shut-down."""
    metrics = Metrics()
    upstream, corrector = Upstream(settings), Corrector(aligners, settings, metrics)
    endpoint = Endpoint(settings, upstream, corrector, metrics)

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        corrector.start()
        try:
            yield
        finally:
            await asyncio.to_thread(corrector.stop)
            await upstream.close()

    return Starlette(
        routes=[
            Route("/health", endpoint.health),
            Route("/metrics", endpoint.metrics),
            Route(f"/v1{CHAT}", endpoint.chat, methods=["POST"]),
            Route("/v1/{path:path}", endpoint.other, methods=METHODS),
        ],
        middleware=[Middleware(Telling, metrics=metrics)],
        exception_handlers={RefusedError: _refused, HTTPException: _unknown},  # type: ignore[dict-item]
        lifespan=life,
    )


def leads_around(path: str) -> bool:
    """Whether an upstream might read this path, without its /v1, as one that gives texts; odd ones count as such."""
    parts = [part for part in path.lower().split("/") if part]
    is_odd = PLAIN_PATH.fullmatch(path) is None or not {".", ".."}.isdisjoint(parts)
    return is_odd or f"{'/'.join(parts)}/".startswith(tuple(f"{one}/" for one in NEVER_PASSED))


async def _wait(work: "asyncio.Task[T]", request: Request, timeout_s: float | None) -> None:
    """Until the work is done or the time is over. Ends the work and raises ClientDisconnect where the client leaves."""
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({work, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not work.done():
            raise ClientDisconnect
    except (ClientDisconnect, asyncio.CancelledError):
        work.cancel()
        raise
    finally:
        gone.cancel()


async def _result(work: "asyncio.Task[T]", request: Request) -> T:
    await _wait(work, request, None)
    return work.result()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _passed(found: Reply | Flow) -> Response:
    return _response(found) if isinstance(found, Reply) else _stream(found.events, found.headers, found.status)


def _response(reply: Reply) -> Response:
    return Response(reply.content, reply.status, _text_headers(reply.headers))


def _json(completion: dict[str, Any], reply: Reply) -> Response:
    """JSON in ASCII: halves of surrogate pairs go out as they came."""
    return _whole(json.dumps(completion).encode("ascii"), reply.headers, "application/json")


def _whole(body: bytes, headers: Headers, media_type: str) -> Response:
    """What we wrote, under the upstream's headers."""
    return Response(body, 200, {**_text_headers(headers), "content-type": media_type})


def _stream(pieces: AsyncIterator[bytes], headers: Headers, status: int = 200) -> Response:
    kept = {**_text_headers(headers), "cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(pieces, status, kept, media_type=EVENT_STREAM)


def _text_headers(headers: Headers) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


async def _refused(_: Request, error: RefusedError) -> Response:
    return Response(error_body(error), error.status, error.headers, media_type="application/json")


async def _unknown(request: Request, error: HTTPException) -> Response:
    what = f"There is no such endpoint here ({error.detail}). See POST /v1/chat/completions."
    return await _refused(request, RefusedError(error.status_code, "unknown_endpoint", what))
