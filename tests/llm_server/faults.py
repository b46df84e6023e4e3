"""Faults by name: errors that cost nothing, replies that are odd, bytes that are no reply, and broken connections."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.llm_server.asked import Vendor
from tests.llm_server.errors import error_body
from tests.llm_server.replies import Reply

Fault = tuple[int, dict[str, str], bytes]

REFUSAL = "I'm sorry, but I can't help with that."
DUPLICATE_NUMBER = "0" * 24

ERRORS: dict[str, Callable[[Vendor], Fault]] = {
    "rate_limited": lambda vendor: _busy(vendor, "0.05"),
    "rate_limited_for_a_day": lambda vendor: _busy(vendor, "86400"),
    "insufficient_quota": lambda vendor: (
        429,
        {},
        error_body(vendor, 429, "You exceeded your current quota, please check your plan.", "insufficient_quota"),
    ),
    "server_error": lambda vendor: (500, {}, error_body(vendor, 500, "The server had an error.")),
    "unavailable": lambda vendor: (503, {}, error_body(vendor, 503, "The service is unavailable.")),
    "overloaded": lambda vendor: (529, {}, error_body(vendor, 529, "Overloaded")),
}
"""Sent at once, instead of an answer."""

SHAPES: dict[str, Callable[[Reply], Reply]] = {
    "lone_surrogate": lambda reply: replace(reply, text=reply.text + " \ud800"),
    "nul": lambda reply: replace(reply, text=reply.text + " \0"),
    "empty": lambda reply: replace(reply, text="", output_tokens=0),
    "refusal": lambda reply: replace(reply, text=_half(reply.text), refusal=REFUSAL),
    "content_filter": lambda reply: replace(reply, text=_half(reply.text), finish_reason="content_filter"),
    "length": lambda reply: replace(reply, text=_half(reply.text), finish_reason="length"),
    "other_model": lambda reply: replace(reply, model=f"{reply.model}-other"),
    "duplicate_id": lambda reply: replace(reply, number=DUPLICATE_NUMBER),
}
"""A well-formed reply that says something else; paid for."""

BYTES: dict[str, Callable[[Vendor, bytes], tuple[str, bytes]]] = {
    "invalid_json": lambda _, body: ("application/json", body[: len(body) // 2]),
    "html": lambda *_: ("text/html; charset=utf-8", b"<!DOCTYPE html><html><body>Please log in.</body></html>"),
    "error_object": lambda vendor, _: ("application/json", error_body(vendor, 500, "The server had an error.")),
}
"""Content type and body, sent with status 200 instead of the reply."""

CONNECTIONS = ("reset", "hang", "slow_drip", "cut_body")
"""What happens to the connection; `tests.llm_server.sending` does it. The first two come before an answer."""

FAULT_NAMES = (*ERRORS, *SHAPES, *BYTES, *CONNECTIONS)


def check_shares(shares: Mapping[str, float]) -> None:
    """Raises ValueError where a name is unknown or the shares pass 1."""
    if unknown := set(shares) - set(FAULT_NAMES):
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; known: {', '.join(FAULT_NAMES)}")
    if any(share < 0 for share in shares.values()) or sum(shares.values()) > 1 + 1e-9:
        raise ValueError(f"shares are 0..1 and at most 1 together: {dict(shares)}")


def draw(shares: Mapping[str, float], chance: random.Random) -> str | None:
    """The fault that befalls one request, or none."""
    left = chance.random()
    for name, share in shares.items():
        left -= share
        if left < 0:
            return name
    return None


def _busy(vendor: Vendor, retry_after: str) -> Fault:
    return 429, {"Retry-After": retry_after}, error_body(vendor, 429, "Rate limit reached for requests.")


def _half(text: str) -> str:
    return text[: len(text) // 2]
