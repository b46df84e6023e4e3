"""How fast and how wide calls may go that share one limit. Pure: the time is an argument."""

import math

from schemas.records import RateLimits

CATCH_UP_S = 0.1
"""How late a call may be and still keep the pace: a busy machine wakes late, and what it missed is not lost.

After a longer pause, and at the start, nothing is made up: calls that go together pass a limit of this second.
"""

MARGIN = 1.01
"""A limit is used to 99 %: servers count in windows that are not ours."""


class Pace:
    """Calls at even distances, by requests and by tokens a minute; what the configuration leaves open, headers tell."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._is_requests_given = requests_per_minute is not None
        self._is_tokens_given = tokens_per_minute is not None
        self._requests_per_minute, self._tokens_per_minute = requests_per_minute, tokens_per_minute
        self._next_request = self._next_token = -math.inf

    def learn(self, limits: RateLimits, now: float) -> None:
        """Take over what a server says of its limits, as far as the configuration says nothing."""
        if not self._is_requests_given and limits.requests_per_minute:
            self._requests_per_minute = limits.requests_per_minute
        if not self._is_tokens_given and limits.tokens_per_minute:
            self._tokens_per_minute = limits.tokens_per_minute
        if limits.wait_s:
            self._next_request = max(self._next_request, now + min(limits.wait_s, 60.0))

    def wait_s(self, now: float) -> float:
        """How long until the next call may go; 0 where it may go now."""
        return max(0.0, self._next_request - now, self._next_token - now)

    def take(self, now: float, tokens: float) -> None:
        """A call of about so many tokens goes now."""
        if self._requests_per_minute:
            share_s = MARGIN * 60.0 / self._requests_per_minute
            self._next_request = _place(self._next_request, now) + share_s
        if self._tokens_per_minute:
            share_s = MARGIN * 60.0 * tokens / self._tokens_per_minute
            self._next_token = _place(self._next_token, now) + share_s

    def settle(self, tokens: float, used: float) -> None:
        """A call took `used` tokens where `tokens` were reserved."""
        if self._tokens_per_minute:
            self._next_token -= MARGIN * 60.0 * (tokens - used) / self._tokens_per_minute


class Width:
    """How many calls may be in flight: all at first, half after a sign of too much, then a little more each round."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._width = float(most)
        self._narrowed_at = -math.inf

    @property
    def calls(self) -> int:
        """Calls that may be in flight now."""
        return int(self._width)

    def widen(self) -> None:
        """A call was answered: a whole round of answers adds one thirty-second of the most."""
        self._width = min(float(self._most), self._width + max(1.0, self._most / 32) / self._width)

    def narrow(self, sent_at: float, now: float) -> None:
        """A call that was sent then was too much: halve, but once for all calls that were in flight together."""
        if sent_at >= self._narrowed_at:
            self._width = max(1.0, self._width / 2)
            self._narrowed_at = now


def _place(planned: float, now: float) -> float:
    """The moment from which the distance to the next call counts."""
    return planned if planned >= now - CATCH_UP_S else now
