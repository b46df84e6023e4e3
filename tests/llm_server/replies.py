"""A completion, and the JSON that each protocol makes of it."""

import json
import time
from dataclasses import dataclass
from typing import Any

from tests.llm_server.asked import Kind

STOP_REASON = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


@dataclass(frozen=True)
class Reply:
    """What the model said; `finish_reason` in OpenAI's words.

    `input_tokens` counts what was not read from the cache.
    """

    number: str
    model: str
    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    refusal: str | None = None


def reply_body(kind: Kind, reply: Reply) -> dict[str, Any]:
    """The JSON object of `reply` in the protocol `kind`."""
    return {Kind.CHAT: _chat, Kind.TEXT: _text, Kind.MESSAGES: _message}[kind](reply)


def encode(body: dict[str, Any]) -> bytes:
    """JSON in ASCII: NUL and lone surrogates become escapes, as they do on real servers."""
    return json.dumps(body).encode("ascii")


def _chat(reply: Reply) -> dict[str, Any]:
    content = None if reply.refusal else reply.text
    message = {"role": "assistant", "content": content, "refusal": reply.refusal}
    return {
        "id": f"chatcmpl-{reply.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": reply.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}],
        "usage": _openai_usage(reply),
    }


def _text(reply: Reply) -> dict[str, Any]:
    reason = "content_filter" if reply.refusal else reply.finish_reason
    text = "" if reply.refusal else reply.text
    return {
        "id": f"cmpl-{reply.number}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": reply.model,
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}],
        "usage": _openai_usage(reply),
    }


def _openai_usage(reply: Reply) -> dict[str, Any]:
    """Prompt tokens include the cached ones here."""
    prompt_tokens = reply.input_tokens + reply.cached_tokens
    usage: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": prompt_tokens + reply.output_tokens,
    }
    if reply.cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": reply.cached_tokens}
    return usage


def _message(reply: Reply) -> dict[str, Any]:
    """An empty answer has no block; a refusal stops in mid-sentence, with the text before it still there."""
    refused = reply.refusal is not None or reply.finish_reason == "content_filter"
    return {
        "id": f"msg_{reply.number}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [{"type": "text", "text": reply.text}] if reply.text else [],
        "stop_reason": "refusal" if refused else STOP_REASON[reply.finish_reason],
        "stop_sequence": None,
        "stop_details": {"type": "refusal", "category": None, "explanation": reply.refusal} if refused else None,
        "usage": {
            "input_tokens": reply.input_tokens,
            "output_tokens": reply.output_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": reply.cached_tokens,
        },
    }
