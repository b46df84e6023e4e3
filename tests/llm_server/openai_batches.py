"""OpenAI's batches, in memory."""

import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.llm_server.batches import DAY_S, Batch, BatchRequest, cancel, find, is_ended_by_poll, page, register
from tests.llm_server.completing import completion
from tests.llm_server.errors import RefusedError, error_object
from tests.llm_server.openai_files import listed, store, stored_file
from tests.llm_server.openai_input import KINDS, complaint, read_input
from tests.llm_server.replies import encode

if TYPE_CHECKING:
    from tests.llm_server.server import LLMServer

_REST_ERRORS = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "canceled": ("batch_cancelled", "The batch was cancelled before this request was executed."),
}


async def submit(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """POST /v1/batches: a bad input file is accepted here, and the batch fails when it is validated."""
    body = await request.json()
    if body.get("endpoint") not in KINDS or body.get("completion_window") != "24h":
        raise RefusedError(400, f"endpoint must be one of {', '.join(KINDS)}, completion_window 24h")
    stored = stored_file(server, body.get("input_file_id", ""))
    requests, complaints = read_input(stored.content, body["endpoint"], server.batch_requests_at_most)
    batch = Batch(
        f"batch_{server.next_number()}", "openai", requests, time.time(), body.get("metadata"),
        body["endpoint"], stored.file_id, complaints,
    )  # fmt: skip
    await register(server, batch)
    return batch_object(server, batch)


async def list_batches(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """GET /v1/batches, newest first; no poll."""
    ids = [one.batch_id for one in reversed(server.batches.values()) if one.vendor == "openai"]
    found, has_more = page(ids, request.query.get("after"), None, int(request.query.get("limit", "20")))
    return listed([batch_object(server, server.batches[one]) for one in found], has_more)


async def show(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """GET /v1/batches/{id}; a poll."""
    batch = find(server, "openai", request.match_info["id"])
    if is_ended_by_poll(server, batch) and batch.end != "failed":
        _write_results(server, batch)
    return batch_object(server, batch)


async def stop(server: "LLMServer", request: web.Request) -> dict[str, Any]:
    """POST /v1/batches/{id}/cancel."""
    batch = find(server, "openai", request.match_info["id"])
    if batch.end is not None:
        raise RefusedError(409, f"Cannot cancel a batch with status '{batch.end}'.")
    cancel(batch)
    return batch_object(server, batch)


def batch_object(server: "LLMServer", batch: Batch) -> dict[str, Any]:
    """The batch as OpenAI shows it."""
    created, ended = int(batch.created_s), None if batch.ended_s is None else int(batch.ended_s)
    will_fail = bool(batch.complaints) or server.batch_ends == "failed"
    status = batch.end or (
        "cancelling" if batch.cancelled_s else "validating" if will_fail or not batch.polls else "in_progress"
    )
    total = 0 if status in ("validating", "failed") else len(batch.requests)
    complaints = batch.complaints or [complaint("invalid_request", "The batch failed.", None)]
    return {
        "id": batch.batch_id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": complaints} if status == "failed" else None,
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": created,
        "in_progress_at": created if total else None,
        "expires_at": created + DAY_S,
        "finalizing_at": ended if status == "completed" else None,
        "completed_at": ended if status == "completed" else None,
        "failed_at": ended if status == "failed" else None,
        "expired_at": ended if status == "expired" else None,
        "cancelling_at": int(batch.cancelled_s) if batch.cancelled_s else None,
        "cancelled_at": ended if status == "cancelled" else None,
        "request_counts": {
            "total": total,
            "completed": batch.count("succeeded") if total else 0,
            "failed": batch.count("errored", "expired", "canceled") if total else 0,
        },
        "metadata": batch.metadata,
    }


def _write_results(server: "LLMServer", batch: Batch) -> None:
    """Both files, in reverse order of the requests; a file without lines does not exist."""
    lines: dict[bool, list[bytes]] = {True: [], False: []}
    for one in reversed(batch.requests):
        lines[batch.fates[one.custom_id] == "succeeded"].append(encode(_result(server, batch, one)) + b"\n")
    written = {good: store(server, f"{batch.batch_id}.jsonl", "batch_output", b"".join(lines[good])).file_id
               for good in (True, False) if lines[good]}  # fmt: skip
    batch.output_file_id, batch.error_file_id = written.get(True), written.get(False)


def _result(server: "LLMServer", batch: Batch, one: BatchRequest) -> dict[str, Any]:
    fate, response, error = batch.fates[one.custom_id], None, None
    if fate in _REST_ERRORS:
        error = dict(zip(("code", "message"), _REST_ERRORS[fate], strict=True))
    else:
        status = 200 if fate == "succeeded" else server.batch_error_status
        words = f"The request failed with status {status}."
        body = completion(server, one.asked) if status == 200 else error_object("openai", status, words)
        response = {"status_code": status, "request_id": f"req_{server.next_number()}", "body": body}
    number = f"batch_req_{server.next_number()}"
    return {"id": number, "custom_id": one.custom_id, "response": response, "error": error}
