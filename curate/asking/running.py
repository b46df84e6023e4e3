"""What all dispatchers of one run share: the models, the ledger, who wakes whom, and how a reply or a fault is kept."""

import asyncio
import itertools
from collections.abc import Iterator

from curate.asking.money import Account, Room, reserve, settle, usage, worst_case_nano_usd
from curate.asking.work import ELSEWHERE, Ask, Call, Meter, Model, Trial, reported_model
from curate.ledger.batches import open_calls
from curate.ledger.journal import Ended, KnownFailure, Ledger, Usage
from curate.providers.verdict import Ruling, ruling
from schemas.errors import ProviderBusyError, RequestError
from schemas.records import Response

LOOK_AHEAD = 500
"""Requests looked up in the ledger at once."""


class Running:
    """One stage's run of calls."""

    def __init__(self, asks: list[Ask], accounts: list[list[Account]], ledger: Ledger, stage: str) -> None:
        self.ledger, self.stage = ledger, stage
        self.models: list[Model] = []
        self.is_draining = False
        self._bells: dict[int, asyncio.Event] = {}
        self._open_ids: set[str] = set()
        self._reopened: dict[str, Trial] = {}
        batch_models = {ask.name for ask in asks if ask.config.mode == "batch"}
        self._batched_elsewhere = {
            request_id: name for request_id, name in open_calls(ledger, stage) if name not in batch_models
        }
        for number, (ask, own) in enumerate(zip(asks, accounts, strict=True)):
            model = Model(number, ask, own, iter(()), Meter(ask.total))
            model.stream = self._missing(model)
            self.models.append(model)

    def bell(self, models: list[Model]) -> asyncio.Event:
        """The event that wakes the one who serves these models."""
        bell = asyncio.Event()
        for model in models:
            self._bells[model.number] = bell
        return bell

    def ring(self) -> None:
        """Wake all: money came back, a drain began, or the run may be over."""
        for bell in self._bells.values():
            bell.set()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to send and nothing can be handed over any more."""
        return all(model.is_exhausted and not model.meter.open for model in self.models) and not self.has_left_calls

    @property
    def has_left_calls(self) -> bool:
        """Whether a stopped model leaves calls behind that somebody can still take over."""
        return any(model.leaves_calls for model in self.models) and not all(model.stopped for model in self.models)

    def next_trial(self, model: Model, now: float) -> Trial | None:
        """The model's next call, its cost reserved; None where there is none now."""
        if model.stopped:
            return None
        trial = model.held or model.due(now) or self._fresh(model)
        if trial is None:
            return None
        if (name := self._batched_elsewhere.get(trial.call.request.request_id)) is not None:
            model.held, model.keeps_calls = trial, True
            self.stop(
                model,
                f'calls of it are in a batch of "{name}" that is at work: keep that model with mode = "batch" until '
                "the batch is fetched, or give it up with `curate ledger forget`",
            )
            return None
        model.held = None
        worst = worst_case_nano_usd(trial.call.request, model.ask.config)
        room, what = reserve(model.accounts, worst)
        if room is Room.NOW:
            trial.reserved_nano_usd = worst
            return trial
        model.held = trial
        if room is Room.NEVER:
            full = next(one for one in model.accounts if one.what == what)
            self.stop(
                model,
                f"the budget of {what} is used up: {full.spent_nano_usd / 1e9:,.6f} of budget_usd = "
                f"{(full.limit_nano_usd or 0) / 1e9:g} are spent, and the next call can cost {worst / 1e9:,.6f}",
            )
        return None

    def stop(self, model: Model, why: str) -> None:
        """Send nothing more to a model. Where it passes on, what it has not answered goes to those who come next."""
        for trial in model.stop(why):
            self._open_ids.discard(trial.call.request.request_id)
            model.is_stranded |= not self._pass_on(model, trial.call)
        while model.handed:
            self._pass_on(model, model.handed.popleft())
        self.ring()

    def give_up(self, model: Model, trial: Trial) -> None:
        """A call of a model that stopped while it was on its way."""
        self.close(model, trial)
        model.is_stranded |= not self._pass_on(model, trial.call)

    def pass_on_rest(self) -> None:
        """When all models have stopped: what they left goes to those who are not asked here, if it may."""
        for model in self.models:
            if model.leaves_calls:
                for call in model.stream:
                    if call is not None:
                        model.is_left |= not self._pass_on(model, call)
                model.is_streamed = True

    def _pass_on(self, model: Model, call: Call) -> bool:
        """Give a stopped model's call to who comes next; whether anybody does."""
        return model.passes_on and self.hand_over(call, None)

    def _fresh(self, model: Model) -> Trial | None:
        if (call := self._next_handed(model)) is not None:
            return self._opened(model, call)
        if model.is_streamed:
            taken = self._taken_over(model)
            return None if taken is None else self._opened(model, taken)
        try:
            streamed = next(model.stream)
        except StopIteration:
            model.is_streamed = True
            self.ring()
            return None
        return None if streamed is None else self._opened(model, streamed)

    def _next_handed(self, model: Model) -> Call | None:
        had_any = bool(model.handed)
        while model.handed:
            call = model.handed.popleft()
            if not self._is_known(model, call):
                return call
        if had_any:
            self.ring()  # nothing of it was to be asked: the run may be over, and others sleep until they are told
        return None

    def _taken_over(self, model: Model) -> Call | None:
        """A call that a stopped model leaves to this one; looks at one block of its stream at most."""
        for stopped in self.models:
            while stopped.leaves_calls and stopped is not model:
                try:
                    call = next(stopped.stream)
                except StopIteration:
                    stopped.is_streamed = True
                    self.ring()
                    break
                if call is None:
                    return None
                stopped.is_left |= not self._pass_on(stopped, call)
                if (taken := self._next_handed(model)) is not None:
                    return taken
        return None

    def _opened(self, model: Model, call: Call) -> Trial:
        model.meter.open += 1
        self._open_ids.add(call.request.request_id)
        return Trial(call)

    def reopen(self, model: Model, trial: Trial) -> None:
        """A call of an earlier run is still at work, and its cost was counted as spent when the run began."""
        model.meter.open += 1
        model.meter.in_flight += 1
        self._open_ids.add(trial.call.request.request_id)
        self._reopened[trial.call.request.request_id] = trial
        settle(model.accounts, -trial.reserved_nano_usd, -trial.reserved_nano_usd)

    def release(self, model: Model, trial: Trial) -> None:
        """A call was not sent after all."""
        settle(model.accounts, trial.reserved_nano_usd, 0)
        trial.reserved_nano_usd = 0

    def _is_known(self, model: Model, call: Call) -> bool:
        request_id = call.request.request_id
        if request_id in self._open_ids:
            if (reopened := self._reopened.pop(request_id, None)) is not None:
                reopened.call = call
            return True
        if not self.ledger.known([request_id]):
            return False
        self._pass_on_known(model, [call])
        return True

    def _missing(self, model: Model) -> Iterator[Call | None]:
        """Calls without a reply in the order of the plan; None after each block, so that others get their turn."""
        calls = iter(model.ask.calls)
        while block := list(itertools.islice(calls, LOOK_AHEAD)):
            known = self.ledger.known(call.request.request_id for call in block)
            model.meter.known += len(known)
            if known:
                self._pass_on_known(model, [call for call in block if call.request.request_id in known])
            open_then = {one for call in block if (one := call.request.request_id) in self._open_ids}
            for call in block:
                request_id = call.request.request_id
                if (reopened := self._reopened.pop(request_id, None)) is not None:
                    reopened.call = call
                if request_id not in known and request_id not in open_then and request_id not in self._open_ids:
                    known.add(request_id)
                    yield call
            yield None

    def _pass_on_known(self, model: Model, calls: list[Call]) -> None:
        """What follows on recorded replies is asked, too."""
        calls = [call for call in calls if call.follow is not None]
        responses = self.ledger.responses(call.request.request_id for call in calls)
        for call in calls:
            response = responses.get(call.request.request_id)
            self.hand_over(call, None if response is None else self.rule(model.ask, response))

    def hand_over(self, call: Call, ruled: Ruling | None) -> bool:
        """Ask what follows on a call, given the ruling on its reply; whether anything does."""
        following = None if call.follow is None else call.follow(ruled)
        while following is not None:
            number, call = following
            if number == ELSEWHERE:
                return True
            model = self.models[number]
            if not (model.stopped and model.passes_on):
                model.handed.append(call)
                self._bells[number].set()
                return True
            following = None if call.follow is None else call.follow(None)
        return False

    def rule(self, ask: Ask, response: bytes) -> Ruling:
        """The ruling on a reply of this model."""
        return ruling(ask.asker.read, response, reported_model(ask.config, ask.name))

    async def keep(
        self, model: Model, trial: Trial, response: Response, ruled: Ruling, ended: tuple[int, int | None]
    ) -> Usage:
        """Write a reply down, then count it; what it used. ended: the attempt's id and its milliseconds."""
        request, ask = trial.call.request, model.ask
        if ruled.completion is None:
            raise AssertionError
        used = usage(ruled.completion, ask.config, trial.reserved_nano_usd)
        attempt_id, latency_ms = ended
        if ask.is_free:
            await self.ledger.record_free(request, self.stage, ask.name, response.body)
        else:
            end = Ended("reply", latency_ms, response.provider_request_id, used)
            await self.ledger.record(request, self.stage, response.body, trial.attempts + 1, end, attempt_id)
        settle(model.accounts, trial.reserved_nano_usd, used.cost_nano_usd)
        meter = model.meter
        meter.done += 1
        meter.input_tokens += used.input_tokens or 0
        meter.output_tokens += used.output_tokens or 0
        meter.cost_nano_usd += used.cost_nano_usd
        model.failed_in_a_row = model.parked_in_a_row = model.timed_out_in_a_row = 0
        self.close(model, trial)
        self.hand_over(trial.call, ruled)
        return used

    async def note_fault(self, model: Model, trial: Trial, error: RequestError, ended: tuple[int, int | None]) -> None:
        """Write an attempt without a usable reply down; what it may have cost is counted as spent."""
        cost = trial.reserved_nano_usd if error.is_possibly_paid else 0
        attempt_id, latency_ms = ended
        if not model.ask.is_free:
            response = error.response or Response(b"")
            end = Ended(error.kind, latency_ms, response.provider_request_id, Usage(cost_nano_usd=cost))
            await self.ledger.end(attempt_id, end, response.body)
        settle(model.accounts, trial.reserved_nano_usd, cost)
        model.meter.cost_nano_usd += cost
        trial.reserved_nano_usd = 0

    async def fail(self, model: Model, trial: Trial, error: RequestError) -> None:
        """A request failed for good in this run."""
        failure = KnownFailure(error.kind, error.detail, max(trial.attempts, 1))
        await self.ledger.fail(trial.call.request, self.stage, failure)
        model.meter.failed += 1
        self.close(model, trial)
        self.hand_over(trial.call, None)
        model.failed_in_a_row += isinstance(error, ProviderBusyError)
        if model.failed_in_a_row >= max(10, model.ask.config.max_in_flight):
            self.stop(model, f"{model.failed_in_a_row} calls in a row failed; the last: {error.what}")

    def close(self, model: Model, trial: Trial) -> None:
        """A call is decided, or given up for this run."""
        model.meter.open -= 1
        self._open_ids.discard(trial.call.request.request_id)
        if not model.meter.open or any(other.held for other in self.models):
            self.ring()


def unusable(ruled: Ruling, response: Response) -> ProviderBusyError:
    """An error, a web page or nothing that was sent as a success: not kept, asked again, and possibly on the bill."""
    kind, _, words = ruled.detail.partition(": ")
    error = ProviderBusyError(kind, words)
    error.response, error.is_possibly_paid = response, True
    return error
