"""What a client asks for, and what of it goes to the upstream; pure functions on hostile JSON."""

import json
from dataclasses import dataclass
from typing import Any

from curate.serving.refusals import RefusedError

FIELD = "aligner"
"""Our one field in requests and messages."""
KEYS = {"instruction": str, "off": bool}
SPEAKERS = ("user", "assistant")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a chat completion.

    sent: the body for the upstream, byte for byte the client's where neither streaming nor our field or mark is in it.
    question: what the Aligner is shown; None where the last user turn has no text.
    """

    sent: bytes
    question: str | None
    is_off: bool
    is_streamed: bool
    wants_usage: bool


def read_asked(raw: bytes, instruction: str) -> Asked:
    """The request in a body. instruction: the one that holds where the body brings none. Raises RefusedError (400)."""
    body = json_object(raw)
    if body is None:
        raise RefusedError(400, "invalid_json", "The body is no JSON object.")
    ours = _ours(body)
    is_streamed = body.get("stream")
    if is_streamed is not None and not isinstance(is_streamed, bool):
        raise RefusedError(400, "invalid_stream", "stream is true, false or absent.")
    is_off = bool(ours.get("off"))
    options = body.get("stream_options")
    left_out = {FIELD} if is_off or not is_streamed else {FIELD, "stream", "stream_options"}
    kept = {key: _unmarked(value) if key == "messages" else value for key, value in body.items() if key not in left_out}
    return Asked(
        sent=raw if kept == body else json.dumps(kept).encode("ascii"),
        question=question_of(body.get("messages"), str(ours.get("instruction", instruction))),
        is_off=is_off,
        is_streamed=bool(is_streamed),
        wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def json_object(raw: bytes) -> dict[str, Any] | None:
    """The JSON object in `raw`, None where it is none or nested without end."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def question_of(messages: Any, instruction: str) -> str | None:
    """Instruction, earlier turns of user and assistant, and the last user turn, as rows of training stand: a line each.

    System turns, tools and whatever comes after the last user turn are not shown. None where that turn has no text.
    """
    turns = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    last = max((number for number, one in enumerate(turns) if one.get("role") == "user"), default=-1)
    if last < 0 or not (question := _text(turns[last].get("content"))):
        return None
    earlier = [_text(one.get("content")) for one in turns[:last] if one.get("role") in SPEAKERS]
    return "\n".join(text for text in (instruction, *earlier, question) if text)


def _text(content: Any) -> str:
    """A turn's text; the texts of its parts; "" where there is none."""
    if isinstance(content, str):
        return content
    parts = [one.get("text") for one in content if isinstance(one, dict)] if isinstance(content, list) else []
    return "\n".join(text for text in parts if isinstance(text, str))


def _unmarked(messages: Any) -> Any:
    """Messages without our marks: clients send replies back as earlier turns, and some upstreams refuse the field."""
    if not isinstance(messages, list):
        return messages
    return [
        {key: value for key, value in one.items() if key != FIELD} if isinstance(one, dict) else one for one in messages
    ]


def _ours(body: dict[str, Any]) -> dict[str, Any]:
    ours = body.get(FIELD, {})
    if not isinstance(ours, dict):
        raise RefusedError(400, "invalid_aligner", f"{FIELD} is an object of {' and '.join(KEYS)}.")
    for key, value in ours.items():
        if not isinstance(value, KEYS.get(key, ())):
            wanted = " and ".join(f"{name} ({kind.__name__})" for name, kind in KEYS.items())
            raise RefusedError(400, "invalid_aligner", f"{FIELD} takes {wanted} and nothing else.")
    return ours
