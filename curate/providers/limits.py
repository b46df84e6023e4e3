"""What servers say about their limits in a reply's headers: OpenAI's and Anthropic's names, Retry-After."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from schemas.records import RateLimits

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
SHORTEST_RETRY_AFTER_S = 0.05


def rate_limits(headers: Mapping[str, str]) -> RateLimits:
    """The limits for requests and tokens, both a minute, and how long to wait where none is left.

    headers: names in lower case. OpenAI: x-ratelimit-limit-requests, -remaining-requests, -reset-requests ("6m0s");
    Anthropic: anthropic-ratelimit-requests-limit, -remaining, -reset (a time, RFC 3339). Odd headers are ignored.
    """
    limits, waits = {}, []
    for what in ("requests", "tokens"):
        limit = headers.get(f"x-ratelimit-limit-{what}") or headers.get(f"anthropic-ratelimit-{what}-limit")
        left = headers.get(f"x-ratelimit-remaining-{what}") or headers.get(f"anthropic-ratelimit-{what}-remaining")
        reset = headers.get(f"x-ratelimit-reset-{what}") or headers.get(f"anthropic-ratelimit-{what}-reset")
        limits[what] = _positive(limit)
        if left is not None and left.strip() == "0" and reset:
            waits.append(_seconds(reset))
    known = [wait for wait in waits if wait is not None]
    return RateLimits(limits["requests"], limits["tokens"], max(known) if known else None)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header, or those until its date, at least .05; None where it is missing or odd.

    Both forms: RFC 9110, section 10.2.3.
    """
    header = headers.get("retry-after", "")
    try:
        asked_s = float(header)
    except ValueError:
        asked_s = _seconds_until(header)
    return max(asked_s, SHORTEST_RETRY_AFTER_S) if math.isfinite(asked_s) else None


def _seconds_until(date: str) -> float:
    """Seconds until an HTTP date; not a number where it is none."""
    try:
        return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # TypeError: a date of no time zone
        return math.nan


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _seconds(reset: str) -> float | None:
    """Seconds from "6m0s", "10ms", plain seconds or a time."""
    parts = PART.findall(reset)
    if parts and "".join(number + unit for number, unit in parts) == reset:
        return sum(float(number) * UNITS_S[unit] for number, unit in parts)
    plain = _positive(reset)
    if plain is not None:
        return plain
    try:
        at = datetime.fromisoformat(reset)
    except ValueError:
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at.tzinfo else None
