"""The endpoints that complete one request."""

import asyncio
import json
import random
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.llm_server import sending
from tests.llm_server.asked import Asked, Kind, read_asked
from tests.llm_server.errors import error_body
from tests.llm_server.faults import BYTES, ERRORS, SHAPES, draw
from tests.llm_server.replies import Reply, encode, reply_body

if TYPE_CHECKING:
    from tests.llm_server.server import LLMServer

REQUEST_ID = {"openai": "x-request-id", "anthropic": "request-id"}


async def complete(server: "LLMServer", kind: Kind, request: web.Request) -> web.StreamResponse:
    """Count the request; then the first of: a refused key, a listed fault, a full quota, a drawn fault, the answer."""
    headers = {REQUEST_ID[kind.vendor]: f"req_{server.next_number()}"}
    try:
        asked = read_asked(kind, json.loads(await request.read()))
    except ValueError as error:
        return sending.whole(400, headers, error_body(kind.vendor, 400, str(error)))
    server.note(asked)
    if (key := server.refused_key(request)) is not None:
        return sending.whole(401, headers, error_body(kind.vendor, 401, f"Incorrect API key provided: {key}"))
    if server.faults:
        status, more, body = server.faults.pop(0)
        return sending.whole(status, headers | more, body) if status else sending.closed(request)
    quotas = _quotas(server, asked)
    wait_s = server.limits.admit(quotas, server.limit_capacity_s, time.monotonic())
    headers |= server.limits.headers(kind.vendor, quotas)
    if wait_s > 0:
        server.rejected += 1
        body = error_body(kind.vendor, 429, f"Rate limit reached for {kind.vendor}: try again in {wait_s:.3f}s.")
        return sending.whole(429, headers | {"Retry-After": f"{wait_s:.3f}"}, body)
    fault = _drawn(server, asked)
    if fault in ERRORS:
        status, more, body = ERRORS[fault](kind.vendor)
        return sending.whole(status, headers | more, body)
    if fault == "reset":
        return sending.reset(request)
    if fault == "hang":
        await sending.hang()
    return await _answered(server, asked, fault, request, headers)


def completion(server: "LLMServer", asked: Asked, fault: str | None = None) -> dict[str, Any]:
    """The answer's JSON object, shaped by `fault` where it names a shape; counted as answered."""
    text = server.answer(asked.prompt)
    reply = Reply(
        number=server.next_number(),
        model=server.reports_model or asked.model,
        text=text,
        finish_reason=server.finish_reason,
        input_tokens=len(asked.prompt.split()),
        output_tokens=len(text.split()),
        cached_tokens=server.cached_tokens,
    )
    server.answered[asked.prompt] += 1
    return reply_body(asked.kind, SHAPES[fault](reply) if fault in SHAPES else reply)


async def _answered(
    server: "LLMServer", asked: Asked, fault: str | None, request: web.Request, headers: dict[str, str]
) -> web.StreamResponse:
    await server.call(server.before_answer)
    if (latency_s := server.latency_s()) > 0:
        await asyncio.sleep(latency_s)
    body = encode(completion(server, asked, fault))
    if fault in BYTES:
        content_type, body = BYTES[fault](asked.kind.vendor, body)
        return sending.whole(200, headers | {"Content-Type": content_type}, body)
    if fault == "slow_drip":
        return await sending.dripped(request, headers, body, server.drip_s)
    if fault == "cut_body":
        return await sending.cut(request, headers, body)
    return sending.whole(200, headers, body)


def _quotas(server: "LLMServer", asked: Asked) -> dict[str, tuple[float, float]]:
    quotas = {}
    if server.requests_per_minute is not None:
        quotas["requests"] = (server.requests_per_minute, 1.0)
    if server.tokens_per_minute is not None:
        quotas["tokens"] = (server.tokens_per_minute, float(asked.tokens))
    return quotas


def _drawn(server: "LLMServer", asked: Asked) -> str | None:
    """The fault that `server.inject` has for this request: it follows from seed, prompt and turn, not from the order."""
    if not server.inject:
        return None
    turn = server.drawn[asked.prompt]
    server.drawn[asked.prompt] += 1
    if server.inject_once and turn > 0:
        return None
    fault = draw(server.inject, random.Random(f"{server.seed} {turn} {asked.prompt}".encode("utf-8", "surrogatepass")))
    if fault is not None:
        server.suffered.setdefault(asked.prompt, []).append(fault)
    return fault
