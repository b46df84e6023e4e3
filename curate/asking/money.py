"""What calls cost, and hard limits: the worst case is reserved before a call is sent and settled from its usage."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from enum import StrEnum

from curate.config.calls import CallConfig, Price
from curate.ledger.journal import Usage
from schemas.records import Completion, CompletionRequest

MOST_TOKENS = 2**31


class Room(StrEnum):
    """Whether a limit leaves room for a call: now, perhaps when others are settled, or never again."""

    NOW = "now"
    LATER = "later"
    NEVER = "never"


@dataclass
class Account:
    """One hard limit: of a model, a stage or a whole run. `spent` holds all runs before this one."""

    what: str
    limit_nano_usd: int | None
    spent_nano_usd: int
    reserved_nano_usd: int = 0

    def room(self, nano_usd: int) -> Room:
        """Whether so much more may be spent."""
        if self.limit_nano_usd is None or not nano_usd:
            return Room.NOW
        if self.spent_nano_usd + nano_usd > self.limit_nano_usd:
            return Room.NEVER
        is_free = self.spent_nano_usd + self.reserved_nano_usd + nano_usd <= self.limit_nano_usd
        return Room.NOW if is_free else Room.LATER


def account(what: str, limit_usd: Decimal | None, spent_nano_usd: int) -> Account:
    """A limit in USD."""
    return Account(what, None if limit_usd is None else int(limit_usd * 10**9), spent_nano_usd)


def reserve(accounts: Sequence[Account], nano_usd: int) -> tuple[Room, str]:
    """Reserve on all accounts or on none; else the room of the first that has none, and what it is."""
    rooms = [(one.room(nano_usd), one.what) for one in accounts]
    for wanted in (Room.NEVER, Room.LATER):
        for room, what in rooms:
            if room is wanted:
                return room, what
    for one in accounts:
        one.reserved_nano_usd += nano_usd
    return Room.NOW, ""


def settle(accounts: Sequence[Account], reserved_nano_usd: int, cost_nano_usd: int) -> None:
    """Give a reservation back and count what was really spent."""
    for one in accounts:
        one.reserved_nano_usd -= reserved_nano_usd
        one.spent_nano_usd += cost_nano_usd


def worst_case_nano_usd(request: CompletionRequest, config: CallConfig) -> int:
    """Most that a call can cost: no token is shorter than one byte, and no answer longer than max_tokens."""
    if config.price is None:
        return 0
    return nano_usd(config.price, len(request.body), 0, config.sampling.max_tokens, is_batch=config.mode == "batch")


def nano_usd(price: Price, input_tokens: int, cached_tokens: int, output_tokens: int, *, is_batch: bool) -> int:
    """Cost in billionths of a USD, rounded up; prices are per million tokens. input_tokens include cached_tokens."""
    cached = price.input if price.cached is None else price.cached
    fresh = max(0, input_tokens - cached_tokens)
    exact = (price.input * fresh + cached * min(cached_tokens, input_tokens) + price.output * output_tokens) * 1000
    return int((exact * price.batch_factor if is_batch else exact).to_integral_value(rounding=ROUND_UP))


def usage(completion: Completion, config: CallConfig, worst_nano_usd: int) -> Usage:
    """What a reply used; one that does not say it costs the worst case."""
    tokens = (_count(completion.input_tokens), _count(completion.output_tokens))
    cached = _count(completion.cached_tokens)
    if config.price is None:
        return Usage(*tokens, cached_tokens=cached)
    if tokens[0] is None or tokens[1] is None:
        return Usage(*tokens, cost_nano_usd=worst_nano_usd, cached_tokens=cached)
    cost = nano_usd(config.price, tokens[0], cached or 0, tokens[1], is_batch=config.mode == "batch")
    return Usage(*tokens, cost_nano_usd=cost, cached_tokens=cached)


def _count(tokens: object) -> int | None:
    """A number of tokens as a server tells it, None where it cannot be one."""
    return tokens if type(tokens) is int and 0 <= tokens < MOST_TOKENS else None
