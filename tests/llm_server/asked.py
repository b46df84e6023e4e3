"""What a client asks for, read from the body of any of the three protocols."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Vendor = Literal["openai", "anthropic"]


class Kind(StrEnum):
    """The protocols, by the end of their path."""

    CHAT = "/chat/completions"
    TEXT = "/completions"
    MESSAGES = "/messages"

    @property
    def vendor(self) -> Vendor:
        """Whose protocol it is."""
        return "anthropic" if self is Kind.MESSAGES else "openai"


@dataclass(frozen=True)
class Asked:
    """One request for a completion."""

    kind: Kind
    prompt: str
    model: str
    body: dict[str, Any]

    @property
    def tokens(self) -> int:
        """Tokens that count towards the limit: a quarter of the prompt's characters, and the longest answer asked for."""
        longest = self.body.get("max_completion_tokens") or self.body.get("max_tokens") or 0
        return -(-len(self.prompt) // 4) + longest


def read_asked(kind: Kind, body: dict[str, Any]) -> Asked:
    """The request in `body`; its prompt is the last message's text.

    Raises ValueError with words for the client where the body is no request of this protocol.
    """
    try:
        prompt = body["prompt"] if kind is Kind.TEXT else body["messages"][-1]["content"]
        if isinstance(prompt, list):
            prompt = "".join(part if isinstance(part, str) else part["text"] for part in prompt)
        if kind is Kind.MESSAGES:
            body["max_tokens"]  # the one protocol that demands it
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"the body is no request for {kind}: {type(error).__name__}: {error}") from error
    if not isinstance(prompt, str):
        raise ValueError(f"the prompt is a {type(prompt).__name__}, not a text")
    return Asked(kind, prompt, body.get("model", ""), body)
