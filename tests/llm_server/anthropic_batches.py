"""Anthropic's message batches, in memory."""

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from aiohttp import web

from tests.llm_server.asked import Kind, read_asked
from tests.llm_server.batches import DAY_S, Batch, BatchRequest, Fate, cancel, find, is_ended_by_poll, page, register
from tests.llm_server.completing import completion
from tests.llm_server.errors import RefusedError, error_object
from tests.llm_server.replies import encode

if TYPE_CHECKING:
    from tests.llm_server.server import LLMServer

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


async def submit(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """POST /v1/messages/batches."""
    requests = _read_input((await request.json()).get("requests"), server.batch_requests_at_most)
    batch = Batch(f"msgbatch_{server.next_number()}", "anthropic", requests, time.time())
    await register(server, batch)
    return batch_object(server, batch)


async def list_batches(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """GET /v1/messages/batches, newest first; no poll."""
    ids = [one.batch_id for one in reversed(server.batches.values()) if one.vendor == "anthropic"]
    after, before = request.query.get("after_id"), request.query.get("before_id")
    found, has_more = page(ids, after, before, int(request.query.get("limit", "20")))
    data = [batch_object(server, server.batches[one]) for one in found]
    first, last = (found[0], found[-1]) if found else (None, None)
    return {"data": data, "has_more": has_more, "first_id": first, "last_id": last}


async def show(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """GET /v1/messages/batches/{id}; a poll."""
    batch = find(server, "anthropic", request.match_info["id"])
    if is_ended_by_poll(server, batch):
        batch.results = b"".join(encode(_result(server, batch, one)) + b"\n" for one in reversed(batch.requests))
    return batch_object(server, batch)


async def results(server: "LLMServer", request: web.Request) -> web.StreamResponse:
    """GET /v1/messages/batches/{id}/results, line by line in reverse order of the requests."""
    batch = find(server, "anthropic", request.match_info["id"])
    if batch.end is None:
        raise RefusedError(404, f"Batch {batch.batch_id} has no available results: it has not ended.")
    response = web.StreamResponse(headers={"Content-Type": "application/x-jsonl"})
    await response.prepare(request)
    for line in batch.results.splitlines(keepends=True):
        await response.write(line)
    return response


async def stop(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """POST /v1/messages/batches/{id}/cancel."""
    batch = find(server, "anthropic", request.match_info["id"])
    if batch.end is not None:
        raise RefusedError(400, f"Batch {batch.batch_id} cannot be canceled: it has ended.")
    cancel(batch)
    return batch_object(server, batch)


def batch_object(server: "LLMServer", batch: Batch) -> dict[str, Any]:
    """The batch as Anthropic shows it."""
    is_ended = batch.end is not None
    results_url = f"{server.url}/v1/messages/batches/{batch.batch_id}/results"
    return {
        "id": batch.batch_id,
        "type": "message_batch",
        "processing_status": "ended" if is_ended else "canceling" if batch.cancelled_s else "in_progress",
        "request_counts": {"processing": 0 if is_ended else len(batch.requests)}
        | {fate: batch.count(fate) for fate in get_args(Fate)},
        "created_at": _time(batch.created_s),
        "expires_at": _time(batch.created_s + DAY_S),
        "ended_at": _time(batch.ended_s),
        "cancel_initiated_at": _time(batch.cancelled_s),
        "archived_at": None,
        "results_url": results_url if is_ended else None,
    }


def _result(server: "LLMServer", batch: Batch, one: BatchRequest) -> dict[str, Any]:
    fate = batch.fates[one.custom_id]
    result: dict[str, Any] = {"type": fate}
    if fate == "succeeded":
        result["message"] = completion(server, one.asked)
    if fate == "errored":
        words = f"The request failed with status {server.batch_error_status}."
        error = error_object("anthropic", server.batch_error_status, words)
        result["error"] = error | {"request_id": f"req_{server.next_number()}"}
    return {"custom_id": one.custom_id, "result": result}


def _read_input(rows: Any, at_most: int) -> list[BatchRequest]:
    """The requests of a body. Raises RefusedError, which makes no batch."""
    if not isinstance(rows, list) or not rows:
        raise RefusedError(400, "requests: a list with at least one request is required")
    if len(rows) > at_most:
        raise RefusedError(400, f"requests: at most {at_most} requests are allowed")
    try:
        requests = [BatchRequest(row["custom_id"], read_asked(Kind.MESSAGES, row["params"])) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(400, f"requests: {error}") from error
    if bad := [one.custom_id for one in requests if not _CUSTOM_ID.fullmatch(one.custom_id)]:
        raise RefusedError(400, f"requests: custom_id '{bad[0]}' does not match ^[a-zA-Z0-9_-]{{1,64}}$")
    if len({one.custom_id for one in requests}) < len(requests):
        raise RefusedError(400, "requests: custom_id must be unique in a batch")
    return requests


def _time(at_s: float | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat()
