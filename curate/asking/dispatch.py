"""One dispatcher for all models that share a limit: who is next, when it may go, and what follows its reply."""

import asyncio
import random

from curate.asking.money import usage
from curate.asking.pace import Pace, Width
from curate.asking.retry import TOO_MUCH, Next, counts, decide, is_parked
from curate.asking.running import Running, unusable
from curate.asking.work import Model, Trial
from curate.providers.verdict import Ruling
from schemas.errors import ProviderBusyError, RequestError
from schemas.records import Response

LONGEST_PROBE_S = 2.0
"""The first call goes alone, to learn from its headers and to spend one call on a wrong key; but not for longer."""

MOST_PARKED = 5

Intent = asyncio.Future[list[int]]
"""An attempt's id, once it is on the disk."""


class Dispatcher:
    """Sends the calls of its models, one after the other in turn, as fast and as wide as their limit allows."""

    def __init__(self, models: list[Model], running: Running) -> None:
        configs = [model.ask.config for model in models]
        self._models, self._running = models, running
        self._width = Width(min(config.max_in_flight for config in configs))
        self._pace = Pace(
            min((config.requests_per_minute for config in configs if config.requests_per_minute), default=None),
            min((config.tokens_per_minute for config in configs if config.tokens_per_minute), default=None),
        )
        self._bell = running.bell(models)
        self._in_flight = 0
        self._closed_until = 0.0
        self._probe_until: float | None = None
        self._has_probed = models[0].ask.is_free
        self._turn = 0
        self._random = random.Random(models[0].ask.name)
        self._clock = asyncio.get_running_loop().time
        self._tasks = asyncio.TaskGroup()

    async def run(self) -> None:
        """Send until nothing is left, or until a drain has ended. Raises StoreError where the ledger fails."""
        async with self._tasks:
            while not self._is_over():
                self._bell.clear()  # before anything is looked at: what happens from here on wakes the sleep below
                now = self._clock()
                if self._start_next(now):
                    await asyncio.sleep(0)  # the first calls leave one by one, and so come back: bursts wait for bursts
                    continue
                await self._sleep(self._wait_s(now) or self._until_due_s(now))

    def _start_next(self, now: float) -> bool:
        """Send one call, if one may go now."""
        if self._wait_s(now) != 0.0 or (chosen := self._next(now)) is None:
            return False
        model, trial = chosen
        ask, intent = model.ask, None
        if not ask.is_free:
            running = self._running
            intent = running.ledger.intend(trial.call.request, running.stage, ask.name, trial.reserved_nano_usd)
        self._tasks.create_task(self._send(model, trial, intent))
        return True

    def _is_over(self) -> bool:
        return (self._running.is_draining and not self._in_flight) or self._running.is_over

    def _wait_s(self, now: float) -> float | None:
        """How long until a call may go: 0 is now, None until the bell rings."""
        if self._in_flight >= self._width.calls or self._running.is_draining:
            return None
        wait_s = max(self._closed_until - now, self._pace.wait_s(now))
        if not self._has_probed and self._probe_until is not None:
            wait_s = max(wait_s, self._probe_until - now)
        return max(0.0, wait_s)

    def _until_due_s(self, now: float) -> float | None:
        """How long until a pause ends; None where none is on."""
        if self._in_flight >= self._width.calls or self._running.is_draining:
            return None
        free = [model for model in self._models if model.held is None and not model.stopped]
        if any(self._running.has_left_calls or not model.is_streamed for model in free):
            return 0.0
        due = [model.next_due_at for model in self._models if model.next_due_at is not None]
        return max(0.001, min(due) - now) if due else None

    async def _sleep(self, wait_s: float | None) -> None:
        """Until the bell rings or the time is over."""
        if wait_s == 0.0:
            await asyncio.sleep(0)
            return
        alarm = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, self._bell.set)
        try:
            await self._bell.wait()
        finally:
            if alarm is not None:
                alarm.cancel()

    def _next(self, now: float) -> tuple[Model, Trial] | None:
        """The next call of the next model in turn that has one; its place in the pace is taken."""
        for _ in self._models:
            model = self._models[self._turn % len(self._models)]
            self._turn += 1
            trial = self._running.next_trial(model, now)
            if trial is None:
                continue
            trial.reserved_tokens = len(trial.call.request.body) / 4 + model.ask.config.sampling.max_tokens
            self._pace.take(now, trial.reserved_tokens)
            self._in_flight += 1
            model.meter.in_flight += 1
            if self._probe_until is None:
                self._probe_until = now + LONGEST_PROBE_S
            return model, trial
        return None

    async def _send(self, model: Model, trial: Trial, intent: Intent | None) -> None:
        """One call, whose place is the next one's as soon as its reply is here.

        What the next one intends is written together with that reply: a kill repeats the width at most.
        """
        try:
            answered = await self._attempt(model, trial, intent)
        finally:
            self._has_probed = True
            self._in_flight -= 1
            model.meter.in_flight -= 1
            if self._running.is_over:
                self._running.ring()
            self._bell.set()
        if answered is not None:
            response, ruled, ended = answered
            self._width.widen()
            try:
                self._start_next(self._clock())
            finally:
                await self._running.keep(model, trial, response, ruled, ended)

    async def _attempt(
        self, model: Model, trial: Trial, intent: Intent | None
    ) -> tuple[Response, Ruling, tuple[int, int]] | None:
        """A reply with its ruling, the attempt's id and milliseconds; None after a fault, which is then dealt with."""
        ask, request, running = model.ask, trial.call.request, self._running
        (attempt_id,) = (0,) if intent is None else await intent
        trial.sent_at = self._clock()
        if trial.first_sent_at is None:
            trial.first_sent_at = trial.sent_at
        try:
            async with asyncio.timeout(ask.config.timeout_s):
                response = await ask.asker.complete(request)
        except TimeoutError:
            error: RequestError = ProviderBusyError("timeout", f"no reply within {ask.config.timeout_s:g} s")
            error.is_possibly_paid = True
        except RequestError as caught:
            error = caught
        else:
            ruled = running.rule(ask, response.body)
            if ruled.completion is not None:
                used = usage(ruled.completion, ask.config, trial.reserved_nano_usd)
                self._learn(response, trial, (used.input_tokens or 0) + (used.output_tokens or 0))
                return response, ruled, (attempt_id, self._milliseconds(trial))
            error = unusable(ruled, response)
        self._learn(error.response, trial, trial.reserved_tokens)
        await self._after_fault(model, trial, error, attempt_id)
        return None

    async def _after_fault(self, model: Model, trial: Trial, error: RequestError, attempt_id: int) -> None:
        running, policy, now = self._running, model.ask.policy, self._clock()
        trial.faults += 1
        trial.attempts += counts(error)
        model.timed_out_in_a_row = model.timed_out_in_a_row + 1 if error.kind == "timeout" else 0
        if model.timed_out_in_a_row >= max(10, model.ask.config.max_in_flight):
            running.stop(model, f"{model.timed_out_in_a_row} calls in a row timed out; the last: {error.what}")
        if error.kind in TOO_MUCH:
            self._width.narrow(trial.sent_at, now)
        await running.note_fault(model, trial, error, (attempt_id, self._milliseconds(trial)))
        elapsed_s = now - (trial.first_sent_at or now)
        decision = decide(error, policy, trial.attempts, trial.faults, elapsed_s, self._random.random())
        if is_parked(error, policy) and trial.sent_at >= model.parked_at:
            model.parked_in_a_row, model.parked_at = model.parked_in_a_row + 1, now
            if model.parked_in_a_row >= MOST_PARKED:
                running.stop(
                    model, f"the server asks again and again for too long a pause; the last: {error.what}"[:500]
                )
        if decision.is_for_all:
            self._closed_until = max(self._closed_until, now + decision.pause_s)
        if decision.next is Next.STOP:
            running.stop(model, error.what)
        if decision.next is Next.FAIL:
            await running.fail(model, trial, error)
        elif model.stopped:
            running.give_up(model, trial)
        elif running.is_draining:
            running.close(model, trial)
        else:
            model.meter.retries += 1
            model.ask_again(trial, now + decision.pause_s)

    def _learn(self, response: Response | None, trial: Trial, tokens: float) -> None:
        if response is not None:
            self._pace.learn(response.limits, self._clock())
        if tokens:
            self._pace.settle(trial.reserved_tokens, tokens)

    def _milliseconds(self, trial: Trial) -> int:
        return round((self._clock() - trial.sent_at) * 1000)
