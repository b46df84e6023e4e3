"""The upstream's choices: which hold an answer to correct, and how they look afterwards; pure functions."""

from typing import Any

from curate.serving.asked import FIELD

FINISHED = ("stop", None)


def reason_to_pass(choice: Any) -> str:
    """Why a choice is passed on as it is; "" where it holds a whole answer in text."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return "no_message"
    content = message.get("content")
    if message.get("tool_calls") or message.get("function_call"):
        return "tool_calls"
    if message.get("refusal"):
        return "refusal"
    if content is None or content == "":
        return "empty"
    if not isinstance(content, str):
        return "not_text"
    if choice.get("finish_reason") not in FINISHED:
        return "not_finished"
    return "" if content.strip() else "empty"


def put(choice: dict[str, Any], correction: str) -> None:
    """Replace the answer by its correction and say so; log-probabilities are of other words then, and go."""
    message = choice["message"]
    original = message["content"]
    message["content"] = correction
    message[FIELD] = {"original": original, "changed": correction != original}
    if correction != original and choice.get("logprobs") is not None:
        choice["logprobs"] = None


def leave(choice: Any, reason: str) -> None:
    """Say why the answer stands as the upstream gave it."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if isinstance(message, dict):
        message[FIELD] = {"original": message.get("content"), "changed": False, "reason": reason}
