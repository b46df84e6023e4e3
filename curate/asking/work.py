"""What is to be asked: calls, one model's share of them, and how far it is."""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from curate.asking.money import Account
from curate.asking.retry import Policy
from curate.config.calls import CallConfig
from curate.providers.verdict import Ruling
from schemas.records import Completion, CompletionRequest, Response


class Asker(Protocol):
    """A provider, or an annotator that is handed one."""

    async def complete(self, request: CompletionRequest) -> Response:
        """Send one request once."""
        ...

    def read(self, response: bytes) -> Completion:
        """The completion in a raw reply."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


ELSEWHERE = -1


class Call(msgspec.Struct, frozen=True):
    """One request of the plan.

    follow: given the ruling on its reply, or None where none came, says which model (by its number) is asked next, and
    what; None where nothing more is needed, or nobody is left. ELSEWHERE in the place of a number: somebody takes it
    over who is not asked here, such as a person.
    """

    request: CompletionRequest
    follow: "Callable[[Ruling | None], tuple[int, Call] | None] | None" = None


@dataclass(frozen=True)
class Ask:
    """One model's share of a stage's calls: `total` of them in the plan, more where others fall back on it.

    batches: the provider itself, where the model's calls go in batches. passes_on: where the model stops (wrong key,
    budget used up), what it has not answered follows as if it had failed; else the stage ends with an error.
    """

    name: str
    asker: Asker
    config: CallConfig
    calls: Iterable[Call]
    total: int
    batches: object | None = None
    passes_on: bool = False

    @property
    def is_free(self) -> bool:
        """Whether no call leaves the machine."""
        return self.config.provider in {None, "recorded"}

    @property
    def policy(self) -> Policy:
        """How faults are met."""
        config = self.config
        return Policy(config.max_attempts, config.longest_wait_s, config.timeout_s * config.max_attempts)


def reported_model(config: CallConfig, name: str) -> str | None:
    """The model that replies should name; None where they name none."""
    return None if config.provider in {None, "recorded"} else config.reported_as or config.model or name


@dataclass(slots=True)
class Trial:
    """A call on its way: attempts that count, all faults, when it was first and last sent, what is reserved for it."""

    call: Call
    attempts: int = 0
    faults: int = 0
    first_sent_at: float | None = None
    sent_at: float = 0.0
    reserved_nano_usd: int = 0
    reserved_tokens: float = 0.0


@dataclass
class Meter:
    """How far one model is in this run. `known` replies were in the ledger before; `open` calls are not decided yet."""

    total: int
    known: int = 0
    done: int = 0
    failed: int = 0
    open: int = 0
    in_flight: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0


@dataclass
class Model:
    """The queue of one model: its stream of missing calls, what others handed to it, and what is to be asked again.

    is_left: it stopped before it came to some call, and nobody took that over; is_stranded: the same of a call that was
    begun. keeps_calls: they are at work in a batch, so others must not be paid for them, too.
    """

    number: int
    ask: Ask
    accounts: list[Account]
    stream: Iterator[Call | None]
    meter: Meter
    handed: deque[Call] = field(default_factory=deque)
    held: Trial | None = None
    stopped: str = ""
    is_left: bool = False
    is_stranded: bool = False
    keeps_calls: bool = False
    is_streamed: bool = False
    failed_in_a_row: int = 0
    parked_in_a_row: int = 0
    parked_at: float = -math.inf
    timed_out_in_a_row: int = 0
    _again: list[tuple[float, int, Trial]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def ask_again(self, trial: Trial, at: float) -> None:
        """Put a call back until then."""
        heapq.heappush(self._again, (at, next(self._numbers), trial))

    def due(self, now: float) -> Trial | None:
        """A call whose pause is over."""
        return heapq.heappop(self._again)[2] if self._again and self._again[0][0] <= now else None

    @property
    def next_due_at(self) -> float | None:
        """When the next pause ends."""
        return self._again[0][0] if self._again else None

    @property
    def passes_on(self) -> bool:
        """Whether others take over what it leaves."""
        return self.ask.passes_on and not self.keeps_calls

    @property
    def leaves_calls(self) -> bool:
        """Whether it stopped, and calls of its stream are still to be passed on to others."""
        return bool(self.stopped) and self.passes_on and not self.is_streamed

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing is left to send; others may still hand something over."""
        return bool(self.stopped) or (self.is_streamed and not self.handed and self.held is None and not self._again)

    def stop(self, why: str) -> list[Trial]:
        """Send nothing more; the first reason stays. The calls that were begun and are given up."""
        self.stopped = self.stopped or why
        given_up = [*([self.held] if self.held is not None else []), *(trial for _, _, trial in sorted(self._again))]
        self.meter.open -= len(given_up)
        self.held = None
        self._again.clear()
        return given_up
