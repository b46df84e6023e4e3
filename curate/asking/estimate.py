"""What a run would send and could cost: the plan less the ledger; sends nothing."""

import asyncio
import itertools
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from curate.asking.money import worst_case_nano_usd
from curate.asking.running import LOOK_AHEAD
from curate.asking.work import Ask
from curate.ledger.batches import open_calls
from curate.ledger.journal import Ledger


@dataclass(frozen=True)
class Estimate:
    """What one model would be asked: its calls, those that the ledger holds, and what the others can use at most.

    recorded: calls with a reply, those at work in a batch, and those that are to be skipped.

    input_tokens: a quarter of the bytes to send, about right for English. cost_nano_usd: None without a price; else the
    sum of what a budget reserves, each byte taken as a token, so the bill will be smaller. priced_on: the price's day.
    Calls that fall back on another model are not known before the first answers, so they are not in it.
    """

    model: str
    calls: int
    recorded: int
    input_tokens: int
    output_tokens_at_most: int
    cost_nano_usd_at_most: int | None
    priced_on: str | None

    @property
    def to_send(self) -> int:
        """Calls that a run would send now."""
        return self.calls - self.recorded


def dry_estimate(
    opened: AbstractAsyncContextManager[tuple[object, list[Ask]]], ledger: Path, stage: str
) -> list[Estimate]:
    """What `ask_all` would send, model by model; sends nothing and holds 500 requests at once.

    opened: gives the models and what each is to be asked, and closes their connections at its end.
    """

    async def estimated(known: Ledger) -> list[Estimate]:
        at_work = {request_id for request_id, _ in open_calls(known, stage)}
        async with opened as (_, asks):
            return [_estimate(ask, known, at_work) for ask in asks]

    with Ledger(ledger) as known:
        return asyncio.run(estimated(known))


def _estimate(ask: Ask, ledger: Ledger, at_work: set[str]) -> Estimate:
    calls = recorded = size_bytes = cost = 0
    requests = (call.request for call in ask.calls)
    while block := list(itertools.islice(requests, LOOK_AHEAD)):
        known = ledger.known(request.request_id for request in block)
        known |= {request.request_id for request in block if request.request_id in at_work}
        missing = [request for request in block if request.request_id not in known]
        calls += len(block)
        recorded += len(block) - len(missing)
        size_bytes += sum(len(request.body) for request in missing)
        cost += sum(worst_case_nano_usd(request, ask.config) for request in missing)
    price = ask.config.price
    return Estimate(
        model=ask.name,
        calls=calls,
        recorded=recorded,
        input_tokens=size_bytes // 4,
        output_tokens_at_most=(calls - recorded) * ask.config.sampling.max_tokens,
        cost_nano_usd_at_most=None if price is None else cost,
        priced_on=None if price is None else price.as_of,
    )
