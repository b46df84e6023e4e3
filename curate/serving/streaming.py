"""A whole completion as the chunks that OpenAI's streaming clients read; pure functions."""

import json
from collections.abc import Iterator
from typing import Any

from curate.serving.asked import FIELD
from curate.serving.refusals import RefusedError, error_object

WAITING = b": waiting\n\n"
DONE = b"data: [DONE]\n\n"
PIECE_CHARACTERS = 64
NOT_IN_DELTA = ("content", "tool_calls", FIELD)


def event(value: Any) -> bytes:
    """One server-sent event of JSON in ASCII, so that no text can end it early."""
    return b"data: " + json.dumps(value).encode("ascii") + b"\n\n"


def event_of_error(error: RefusedError) -> bytes:
    """The event by which a stream that has begun tells an error."""
    return event(error_object(error))


def events(completion: dict[str, Any], *, wants_usage: bool) -> Iterator[bytes]:
    """The completion, choice by choice, the usage where it is wanted, and the end."""
    told = {key: value for key, value in completion.items() if key not in {"choices", "usage", "object"}}
    head = {**told, "object": "chat.completion.chunk"}
    usage = {"usage": None} if wants_usage else {}
    for choice in completion["choices"]:
        if isinstance(choice, dict):
            for part in _parts(choice):
                yield event({**head, "choices": [part], **usage})
    if wants_usage:
        yield event({**head, "choices": [], "usage": completion.get("usage")})
    yield DONE


def _parts(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The first delta tells the role, the last one our mark and how it ended."""
    index = choice.get("index", 0)
    found = choice.get("message")
    message = found if isinstance(found, dict) else {}
    content = message.get("content")
    first = {key: value for key, value in message.items() if key not in NOT_IN_DELTA}
    yield _part(index, {"role": "assistant", **first, "content": "" if isinstance(content, str) else content})
    if isinstance(content, str):
        for start in range(0, len(content), PIECE_CHARACTERS):
            yield _part(index, {"content": content[start : start + PIECE_CHARACTERS]})
    if isinstance(calls := message.get("tool_calls"), list) and calls:
        numbered = [{"index": number, **call} for number, call in enumerate(calls) if isinstance(call, dict)]
        yield _part(index, {"tool_calls": numbered})
    mark = {FIELD: message[FIELD]} if FIELD in message else {}
    yield {**_part(index, mark), "logprobs": choice.get("logprobs"), "finish_reason": choice.get("finish_reason")}


def _part(index: Any, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
