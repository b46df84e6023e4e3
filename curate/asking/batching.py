"""One model's calls as batches: handed over as files, polled, fetched hours later; a crash submits nothing twice."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import cast

from curate.asking.money import settle
from curate.asking.retry import Next, decide
from curate.asking.running import Running, unusable
from curate.asking.work import Call, Model, Trial
from curate.ledger.batches import BatchBook, OpenBatch
from curate.progress import Progress
from schemas.errors import ProviderBusyError, ProviderDownError, RequestError, UndecidedBatchError
from schemas.records import BatchProvider, Response

TOGETHER = 200
"""Results written to the ledger at once."""

NEVER_ARRIVED = frozenset({"rate_limited", "unreachable"})
"""Faults of a submission after which the provider has nothing; after all others it may."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """One call in a batch: its attempt, what it reserved, and how it goes on if it brings no answer."""

    attempt_id: int
    reserved_nano_usd: int
    trial: Trial


class Batcher:
    """Submits what is missing, polls what is at work, keeps what is complete and sends the rest back to the plan."""

    def __init__(self, model: Model, running: Running, progress: Progress) -> None:
        self._model, self._running, self._progress = model, running, progress
        self._provider = cast("BatchProvider", model.ask.batches)
        self._book = BatchBook(running.ledger, running.stage, model.ask.name)
        self._bell = running.bell([model])
        self._open: list[OpenBatch] = []
        self._waiting: dict[str, Submitted] = {}
        self._is_blind = False
        self._missed: set[str] = set()
        self._clock = asyncio.get_running_loop().time
        self._next_poll_at = self._clock() + model.ask.config.batch_poll_s

    async def run(self) -> None:
        """Until nothing is left, or a drain: batches at work are fetched by the next run."""
        self._take_up()
        for batch in list(self._open):
            if batch.remote_id is None:
                await self._look_at(batch)
        while True:
            self._bell.clear()
            is_poll = self._clock() >= self._next_poll_at
            if is_poll:
                self._next_poll_at = self._clock() + self._model.ask.config.batch_poll_s
                for batch in list(self._open):
                    await self._look_at(batch)
            if is_poll or not self._can_wait:
                await self._submit_what_is_missing()
            if self._running.is_draining or (not self._open and (self._running.is_over or self._model.stopped)):
                break
            await self._rest()
        if self._open:
            ids = ", ".join(batch.remote_id or "one not acknowledged" for batch in self._open)
            self._progress.say(
                f"{self._model.ask.name}: {len(self._open)} batches are at work: {ids}; run again to fetch"
            )
        self._running.ring()

    async def _rest(self) -> None:
        """Until the next poll, or until the bell rings: money came back, or another model handed something over."""
        model = self._model
        if self._running.has_left_calls and not model.stopped and not self._can_wait:
            await asyncio.sleep(0)
            return
        if not self._open and not model.is_exhausted and model.held is None and not self._can_wait:
            return
        has_poll = self._open or model.handed
        try:
            async with asyncio.timeout_at(self._next_poll_at if has_poll else None):
                await self._bell.wait()
        except TimeoutError:
            return

    @property
    def _can_wait(self) -> bool:
        """Whether a batch may become fuller: calls that others hand over are gathered until the next poll."""
        model = self._model
        return (
            model.is_streamed
            and model.held is None
            and model.next_due_at is None
            and len(model.handed) < model.ask.config.batch_requests
            and any(other.meter.open or not other.is_exhausted for other in self._running.models if other is not model)
        )

    def _take_up(self) -> None:
        """The calls of earlier runs' batches are open again, and reserve what they can cost."""
        for batch in self._book.open():
            for attempt_id, worst, request in self._book.requests(batch):
                trial = Trial(Call(request), reserved_nano_usd=worst)
                self._waiting[request.request_id] = Submitted(attempt_id, worst, trial)
                self._running.reopen(self._model, trial)
            self._open.append(batch)

    async def _submit_what_is_missing(self) -> None:
        model, config = self._model, self._model.ask.config
        while not self._running.is_draining and not model.stopped and not self._is_blind:
            trials: list[Trial] = []
            while len(trials) < config.batch_requests and not model.stopped and not self._running.is_draining:
                trial = self._running.next_trial(model, self._clock())
                if trial is not None:
                    trials.append(trial)
                elif model.held is not None or (model.is_streamed and not self._running.has_left_calls):
                    break
                await asyncio.sleep(0)
            if not trials or self._running.is_draining:
                return
            await self._submit(trials)

    async def _submit(self, trials: list[Trial]) -> None:
        model = self._model
        requests = [trial.call.request for trial in trials]
        reserved = [trial.reserved_nano_usd for trial in trials]
        batch, attempt_ids = await self._book.plan(requests, reserved, uuid.uuid4().hex)
        for trial, attempt_id in zip(trials, attempt_ids, strict=True):
            submitted = Submitted(attempt_id, trial.reserved_nano_usd, trial)
            self._waiting[trial.call.request.request_id] = submitted
        model.meter.in_flight += len(trials)
        self._open.append(batch)
        try:
            remote_id = await self._provider.submit_batch(requests, batch.mark)
        except ProviderBusyError as error:
            await self._after_busy_submission(batch, trials[0], error)
        except RequestError as error:
            await self._give_back(batch, error.what)
            self._running.stop(model, error.what)
        else:
            for trial in trials:
                trial.faults = 0
            await self._acknowledge(batch, remote_id)

    async def _after_busy_submission(self, batch: OpenBatch, first: Trial, error: ProviderBusyError) -> None:
        """A submission that broke may have arrived: look before anything is sent again."""
        if error.kind in NEVER_ARRIVED:
            await self._give_back(batch, error.what)
        else:
            await self._look_at(batch)
        if self._model.stopped or any(one.mark == batch.mark for one in self._open):
            return
        decision = decide(error, self._model.ask.policy, first.faults, first.faults, 0.0, 0.5)
        if decision.next is not Next.AGAIN:
            self._running.stop(self._model, error.what)
        await asyncio.sleep(decision.pause_s)

    async def _acknowledge(self, batch: OpenBatch, remote_id: str) -> None:
        self._open[self._open.index(batch)] = await self._book.submitted(batch, remote_id)
        self._progress.say(f"{self._model.ask.name}: batch {remote_id} of {batch.requests:,} calls is submitted")

    async def _look_for(self, batch: OpenBatch) -> None:
        """Whether the provider has a batch that it did not acknowledge; its calls are not sent again before we know."""
        request_ids = {request.request_id for _, _, request in self._book.requests(batch)}
        self._is_blind = False
        try:
            remote_id = await self._provider.find_batch(
                batch.mark, request_ids, batch.planned_at, self._book.remote_ids()
            )
        except UndecidedBatchError as error:
            self._progress.say(f"{self._model.ask.name}: a submission was not acknowledged: {error.detail}")
        except ProviderBusyError as error:
            self._is_blind = True
            self._progress.say(f"{self._model.ask.name}: cannot list batches now, trying again: {error.what}")
        else:
            if remote_id is None and batch.mark not in self._missed:
                self._missed.add(batch.mark)  # a provider may list it late: looked for once more, a poll later
            elif remote_id is None:
                await self._give_back(batch, "it never arrived")
            else:
                await self._acknowledge(batch, remote_id)

    async def _give_back(self, batch: OpenBatch, why: str) -> None:
        """A batch that the provider does not have: its calls cost nothing and are asked again."""
        trials = self._withdrawn(batch)
        await self._book.forget(batch)
        for trial in trials:
            self._running.release(self._model, trial)
            self._model.ask_again(trial, 0.0)
            trial.faults += 1
        if trials and trials[0].faults >= self._model.ask.config.max_attempts:
            self._running.stop(self._model, why)
        if self._model.stopped:
            self._running.stop(self._model, self._model.stopped)
        self._progress.say(f"{self._model.ask.name}: a batch was not taken: {why}")

    def _give_up(self, batch: OpenBatch, why: str) -> None:
        """Leave a batch to the next run."""
        self._running.stop(self._model, why)
        for trial in self._withdrawn(batch):
            settle(self._model.accounts, trial.reserved_nano_usd, trial.reserved_nano_usd)
            self._running.close(self._model, trial)
        self._model.is_left = True  # they are at work: others must not be paid for them, too

    def _withdrawn(self, batch: OpenBatch) -> list[Trial]:
        """The calls of a batch, in its order, that nobody waits for any more."""
        ids = [request.request_id for _, _, request in self._book.requests(batch)]
        trials = [self._waiting.pop(one).trial for one in ids if one in self._waiting]
        self._model.meter.in_flight -= len(trials)
        self._open.remove(batch)
        return trials

    async def _look_at(self, batch: OpenBatch) -> None:
        name = f"{self._model.ask.name}: batch {batch.remote_id}"
        try:
            if batch.remote_id is None:
                await self._look_for(batch)
                return
            state = await self._provider.batch_state(batch.remote_id)
            if state.has_ended:
                await self._collect(batch, state.status, state.detail)
        except ProviderBusyError as error:
            self._progress.say(f"{name} cannot be read now: {error.what}")
        except ProviderDownError as error:
            self._give_up(batch, error.what)
        except RequestError as error:
            self._give_up(batch, f"batch {batch.remote_id}: {error.what}")

    async def _collect(self, batch: OpenBatch, status: str, detail: str) -> None:
        """Keep each result; what has none, or one that passes, goes back to the plan."""
        ours = {request.request_id for _, _, request in self._book.requests(batch)}
        results: dict[str, Response | RequestError] = {}
        count = 0
        async for request_id, result in self._provider.batch_results(cast("str", batch.remote_id)):
            if request_id in ours:
                results[request_id] = result
            if len(results) == TOGETHER:
                count += await self._keep(results)
                results = {}
        count += await self._keep(results)
        if status == "failed":
            self._running.stop(self._model, f"batch {batch.remote_id} failed: {detail}")
        rest = [one for one in ours if one in self._waiting]
        for some in _blocks(rest, TOGETHER):
            await self._keep(
                {one: ProviderBusyError(f"batch_{status}", f"the batch {status} without it") for one in some}
            )
        await self._book.ended(batch)
        self._open.remove(batch)
        self._progress.say(f"{self._model.ask.name}: batch {batch.remote_id} has {status}, {count:,} results")

    async def _keep(self, results: dict[str, Response | RequestError]) -> int:
        known = [(self._waiting.pop(one), result) for one, result in results.items() if one in self._waiting]
        await asyncio.gather(*(self._keep_one(submitted, result) for submitted, result in known))
        return sum(isinstance(result, Response) for _, result in known)

    async def _keep_one(self, submitted: Submitted, result: Response | RequestError) -> None:
        model, running, trial = self._model, self._running, submitted.trial
        model.meter.in_flight -= 1
        if isinstance(result, Response):
            ruled = running.rule(model.ask, result.body)
            if ruled.completion is not None:
                await running.keep(model, trial, result, ruled, (submitted.attempt_id, None))
                return
            error: RequestError = unusable(ruled, result)
        else:
            error = result
        trial.faults += 1
        trial.attempts += 1
        await running.note_fault(model, trial, error, (submitted.attempt_id, None))
        decision = decide(error, model.ask.policy, trial.attempts, trial.faults, 0.0, 0.5)
        if decision.next is Next.AGAIN and not model.stopped:
            model.meter.retries += 1
            model.ask_again(trial, 0.0)
        elif decision.next is Next.FAIL:
            await running.fail(model, trial, error)
        else:
            running.stop(model, error.what)
            running.give_up(model, trial)


def _blocks(ids: list[str], size: int) -> list[list[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
