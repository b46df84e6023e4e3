"""What follows a fault: ask again after a pause, give the request up, or stop the model. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import ProviderBusyError, ProviderDownError, RequestError

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
TOO_MUCH = frozenset({"rate_limited", "overloaded", "timeout"})
"""Faults that say that too much was asked at once."""


class Next(StrEnum):
    """What to do with a request after a fault."""

    AGAIN = "again"
    FAIL = "fail"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Policy:
    """Most attempts of one request, the longest pause that a server may ask for, and the end of all its waiting."""

    max_attempts: int
    longest_wait_s: float
    give_up_after_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows, after which pause, and whether the pause is for all calls that share the limit."""

    next: Next
    pause_s: float = 0.0
    is_for_all: bool = False


def counts(error: RequestError) -> bool:
    """Whether an attempt that ended so is one of max_attempts: a rate limit is not the request's fault."""
    return error.kind != "rate_limited"


def decide(error: RequestError, policy: Policy, attempts: int, faults: int, elapsed_s: float, draw: float) -> Decision:
    """What follows `error`.

    attempts: those that count, this one included. faults: all so far, this one included. elapsed_s: since the request
    was first sent. draw: 0..1, so that calls which failed together do not come back together.
    """
    if isinstance(error, ProviderDownError):
        return Decision(Next.STOP)
    if not isinstance(error, ProviderBusyError) or attempts >= policy.max_attempts:
        return Decision(Next.FAIL)
    if error.retry_after_s is not None:
        pause_s = min(error.retry_after_s, policy.longest_wait_s)
    else:
        grown = FIRST_PAUSE_S * 2.0 ** min(faults - 1, 20) * (0.5 + draw / 2)
        pause_s = min(grown, LONGEST_PAUSE_S, policy.longest_wait_s)
    if elapsed_s + pause_s > policy.give_up_after_s:
        return Decision(Next.FAIL)
    return Decision(Next.AGAIN, pause_s, is_for_all=error.retry_after_s is not None and error.kind in TOO_MUCH)


def is_parked(error: RequestError, policy: Policy) -> bool:
    """Whether the server asks for a longer pause than anyone wants to sit through."""
    return isinstance(error, ProviderBusyError) and (error.retry_after_s or 0.0) > policy.longest_wait_s
