"""Asks for what the ledger does not hold yet: pace, retries and budget of one model's calls."""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Protocol

from curate.config.model import CallConfig, Price
from curate.ledger import KnownFailure, Ledger, Usage
from schemas.errors import ProviderBusyError, ProviderDownError, RequestError, StageError
from schemas.records import Completion, CompletionRequest

LOOK_AHEAD = 500
"""Requests looked up in the ledger at once."""

LONGEST_PAUSE_S = 60.0

MOST_TOKENS = 2**31


class Asker(Protocol):
    """A provider, or an annotator that is handed one."""

    async def complete(self, request: CompletionRequest) -> bytes:
        """Send one request once."""
        ...


@dataclass(frozen=True)
class Ask:
    """One model's share of a stage's calls. `read` finds the completion in a raw reply, to know what it used."""

    name: str
    asker: Asker
    config: CallConfig
    requests: Iterable[CompletionRequest]
    read: Callable[[bytes], Completion] | None


@dataclass(frozen=True)
class Estimate:
    """What one model would be asked: its calls, those that the ledger holds, and what the others can use at most.

    input_tokens: a quarter of the bytes to send, about right for English. cost_nano_usd: None without a price; else the
    sum of what a budget reserves, each byte taken as a token, so the bill will be smaller.
    """

    model: str
    calls: int
    recorded: int
    input_tokens: int
    output_tokens_at_most: int
    cost_nano_usd_at_most: int | None

    @property
    def to_send(self) -> int:
        """Calls that a run would send now."""
        return self.calls - self.recorded


class Budget:
    """A hard limit: what a call may cost at worst is reserved before it is sent and settled from its usage."""

    def __init__(self, limit_usd: Decimal | None, spent_nano_usd: int) -> None:
        self._limit = None if limit_usd is None else int(limit_usd * 10**9)
        self._spent = spent_nano_usd
        self._reserved = 0
        self._changed = asyncio.Condition()

    async def reserve(self, nano_usd: int) -> bool:
        """Whether this much may still be spent; waits while calls in flight could give some back."""
        if self._limit is None:
            return True
        async with self._changed:
            while nano_usd and self._spent + self._reserved + nano_usd > self._limit:
                if not self._reserved:
                    return False
                await self._changed.wait()
            self._reserved += nano_usd
            return True

    async def settle(self, reserved: int, cost: int) -> None:
        """Give the reservation back and count what was really spent."""
        if self._limit is None:
            return
        async with self._changed:
            self._reserved -= reserved
            self._spent += cost
            self._changed.notify_all()


async def ask_all(
    asks: list[Ask], ledger: Ledger, stage: str, budget_usd: Decimal | None, say: Callable[[str], None]
) -> None:
    """Ask every model at once for its missing replies; each reply is in the ledger before this returns.

    Raises StageError when a provider stopped or the budget is used up, after all others have ended.
    """
    budget = Budget(budget_usd, ledger.spent_nano_usd(stage))
    dispatchers = [_Dispatcher(ask, ledger, stage, budget, say) for ask in asks]
    await asyncio.gather(*(dispatcher.run() for dispatcher in dispatchers))
    stopped = [f"{one.ask.name}: {one.stopped}" for one in dispatchers if one.stopped]
    if stopped:
        done = sum(one.done for one in dispatchers)
        raise StageError(
            f"stopped early, {done:,} new replies are kept in the ledger; " + "; ".join(stopped),
            do="remove the cause and run the stage again: only what is missing will be asked",
        )


def dry_estimate(opened: AbstractAsyncContextManager[tuple[object, list[Ask]]], ledger: Path) -> list[Estimate]:
    """What `ask_all` would send, model by model; sends nothing and holds 500 requests at once.

    opened: gives the models and what each is to be asked, and closes their connections at its end.
    """

    async def estimated(known: Ledger) -> list[Estimate]:
        async with opened as (_, asks):
            return [_estimate(ask, known) for ask in asks]

    with Ledger(ledger) as known:
        return asyncio.run(estimated(known))


def _estimate(ask: Ask, ledger: Ledger) -> Estimate:
    calls = recorded = size_bytes = cost = 0
    requests = iter(ask.requests)
    while block := list(itertools.islice(requests, LOOK_AHEAD)):
        known = ledger.known(request.request_id for request in block)
        missing = [request for request in block if request.request_id not in known]
        calls += len(block)
        recorded += len(block) - len(missing)
        size_bytes += sum(len(request.body) for request in missing)
        cost += sum(worst_case_nano_usd(request, ask.config) for request in missing)
    return Estimate(
        model=ask.name,
        calls=calls,
        recorded=recorded,
        input_tokens=size_bytes // 4,
        output_tokens_at_most=(calls - recorded) * ask.config.sampling.max_tokens,
        cost_nano_usd_at_most=None if ask.config.price is None else cost,
    )


class _Dispatcher:
    """Workers of one model share its stream of missing requests: as many are in flight as the model may have."""

    def __init__(self, ask: Ask, ledger: Ledger, stage: str, budget: Budget, say: Callable[[str], None]) -> None:
        self.ask, self._ledger, self._stage, self._budget, self._say = ask, ledger, stage, budget, say
        self.stopped = ""
        self.done = 0
        self._failed = 0
        self._failed_in_a_row = 0
        self._next_slot = time.monotonic()
        self._random = random.Random(ask.name)

    async def run(self) -> None:
        missing = self._missing()
        await asyncio.gather(*(self._work(missing) for _ in range(self.ask.config.max_in_flight)))

    def _missing(self) -> Iterator[CompletionRequest]:
        requests = iter(self.ask.requests)
        while block := list(itertools.islice(requests, LOOK_AHEAD)):
            known = self._ledger.known(request.request_id for request in block)
            yield from (request for request in block if request.request_id not in known)

    async def _work(self, missing: Iterator[CompletionRequest]) -> None:
        for request in missing:
            if self.stopped:
                return
            await self._ask_within_budget(request)
            self._say(f"{self.ask.name}: {self.done:,} replies, {self._failed:,} failed")

    async def _ask_within_budget(self, request: CompletionRequest) -> None:
        worst = worst_case_nano_usd(request, self.ask.config)
        if not await self._budget.reserve(worst):
            self.stopped = self.stopped or "the budget is used up"
            return
        cost = 0
        try:
            cost = await self._ask_until_answered(request, worst)
        finally:
            await self._budget.settle(worst, cost)

    async def _ask_until_answered(self, request: CompletionRequest, worst: int) -> int:
        """What the reply cost; 0 where there is none. A rate limit costs no attempt, but all waiting has an end."""
        config = self.ask.config
        deadline = time.monotonic() + config.timeout_s * config.max_attempts
        attempts = 0
        for turn in itertools.count():
            await self._wait_for_slot(request)
            if config.provider not in {None, "recorded"}:
                await self._ledger.intend(request, self._stage)
            attempts += 1
            try:
                async with asyncio.timeout(config.timeout_s):
                    response = await self.ask.asker.complete(request)
                self._check_usable(response)
            except TimeoutError:
                busy = ProviderBusyError("timeout", f"no reply within {config.timeout_s:g} s")
            except ProviderBusyError as error:
                busy = error
            except ProviderDownError as error:
                self.stopped = self.stopped or f"{error.kind}: {error.detail}"
                return 0
            except RequestError as error:
                await self._fail(request, error, attempts)
                return 0
            else:
                usage = self._usage(response, worst)
                await self._ledger.record(request, self._stage, response, attempts, usage)
                self.done += 1
                self._failed_in_a_row = 0
                return usage.cost_nano_usd
            attempts -= busy.kind == "rate_limited"
            pause_s = busy.retry_after_s or min(LONGEST_PAUSE_S, 0.5 * 2**turn * self._random.uniform(0.5, 1.0))
            if attempts >= config.max_attempts or time.monotonic() + pause_s > deadline or self.stopped:
                await self._fail(request, busy, max(attempts, 1))
                return 0
            await asyncio.sleep(pause_s)
        raise AssertionError

    async def _fail(self, request: CompletionRequest, error: RequestError, attempts: int) -> None:
        self._failed += 1
        await self._ledger.fail(request, self._stage, KnownFailure(error.kind, error.detail, attempts))
        self._failed_in_a_row += isinstance(error, ProviderBusyError)
        if self._failed_in_a_row >= max(10, self.ask.config.max_in_flight):
            self.stopped = self.stopped or f"{self._failed_in_a_row} calls in a row failed; the last: {error.what}"

    async def _wait_for_slot(self, request: CompletionRequest) -> None:
        """Even pace: each call takes its share of a minute, by requests and by tokens."""
        config = self.ask.config
        share_s = 0.0
        if config.requests_per_minute:
            share_s = 60.0 / config.requests_per_minute
        if config.tokens_per_minute:
            tokens = len(request.body) / 4 + config.sampling.max_tokens
            share_s = max(share_s, 60.0 * tokens / config.tokens_per_minute)
        if share_s:
            now = time.monotonic()
            slot = max(now, self._next_slot)
            self._next_slot = slot + share_s
            await asyncio.sleep(slot - now)

    def _check_usable(self, response: bytes) -> None:
        """Raises ProviderBusyError where an error, a web page or nothing was sent as a success: it is not kept."""
        if self.ask.read is None:
            return
        try:
            self.ask.read(response)
        except RequestError as error:
            raise ProviderBusyError(error.kind, error.detail) from error

    def _usage(self, response: bytes, worst: int) -> Usage:
        if self.ask.read is None:
            return Usage()
        completion = self.ask.read(response)
        tokens = (_count(completion.input_tokens), _count(completion.output_tokens))
        if self.ask.config.price is None:
            return Usage(*tokens)
        cost = worst if None in tokens else nano_usd(self.ask.config.price, tokens[0] or 0, tokens[1] or 0)
        return Usage(*tokens, cost_nano_usd=cost)


def _count(tokens: object) -> int | None:
    """A number of tokens as a server tells it, None where it cannot be one."""
    return tokens if type(tokens) is int and 0 <= tokens < MOST_TOKENS else None


def worst_case_nano_usd(request: CompletionRequest, config: CallConfig) -> int:
    """Most that a call can cost: no token is shorter than one byte, and no answer longer than max_tokens."""
    return 0 if config.price is None else nano_usd(config.price, len(request.body), config.sampling.max_tokens)


def nano_usd(price: Price, input_tokens: int, output_tokens: int) -> int:
    """Cost in billionths of a USD, rounded up; prices are per million tokens."""
    exact = (price.input * input_tokens + price.output * output_tokens) * 1000
    return int(exact.to_integral_value(rounding=ROUND_UP))
