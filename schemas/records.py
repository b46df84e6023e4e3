"""The few things that travel alone, and the protocols between stages, providers and annotators.

What is made for each call of a plan is a msgspec struct: it is made in a fifth of a frozen dataclass's time.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from schemas.errors import RequestError

Task_contra = TypeVar("Task_contra", contravariant=True)
Said_co = TypeVar("Said_co", covariant=True)


class Turn(msgspec.Struct, frozen=True, gc=False, rename={"text": "content"}):
    """One turn of a dialogue; `role` is user, assistant or system. As JSON it is what the protocols send."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model is sampled. None leaves a setting to the server; `max_tokens` counts new tokens only."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    max_tokens: int = 2048
    seed: int | None = None


class CompletionRequest(msgspec.Struct, frozen=True, gc=False):
    """One call, as it will be sent. `request_id` is the hash of the other fields: its key in the ledger."""

    request_id: str
    provider: str
    model: str
    body: bytes


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a server tells of its limits along with a reply; None where it tells nothing.

    wait_s: how long until it takes the next request, where it says that none is left.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A reply's raw body, the id that the provider gave to the call, and its limits."""

    body: bytes
    provider_request_id: str = ""
    limits: RateLimits = RateLimits()


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is: whether it has ended, in the provider's word, its finished calls, and what went wrong."""

    has_ended: bool
    status: str
    done: int
    detail: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model said, read from a raw reply. `finish_reason` is stop, length, content_filter, refusal or other.

    input_tokens include cached_tokens. model: the name that the server reports, "" where it reports none.
    """

    text: str
    finish_reason: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class CorrectionTask:
    """What an annotator is given: one question with its earlier turns, and one answer.

    violations: names of the rules that a critic found broken; empty where it found none, or where there is no critic.
    """

    pair_id: str
    question: str
    answer: str
    turns: tuple[Turn, ...] = ()
    violations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComparisonTask:
    """What a judge is given: one question with its earlier turns, and two texts that answer it."""

    question: str
    first: str
    second: str
    turns: tuple[Turn, ...] = ()


class Provider(Protocol):
    """Code that speaks one wire protocol. `request` and `read` are pure; `complete` is the only effect."""

    def request(self, turns: Sequence[Turn], sample_index: int = 0) -> CompletionRequest:
        """The call that asks this provider's model to go on after `turns`."""
        ...

    async def complete(self, request: CompletionRequest) -> Response:
        """Send one request once. Raises RequestError or one of its kinds."""
        ...

    def read(self, response: bytes) -> Completion:
        """The completion in a raw reply. Raises RequestError where there is none."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


class BatchProvider(Protocol):
    """A provider that also takes many calls as one batch and answers them hours later."""

    async def submit_batch(self, requests: Sequence[CompletionRequest], mark: str) -> str:
        """Hand calls over; the batch's id at the provider. Raises RequestError."""
        ...

    async def find_batch(
        self, mark: str, request_ids: Collection[str], since: float, taken: Collection[str]
    ) -> str | None:
        """The batch of these calls, whose submission was never acknowledged, if the provider has it.

        since: when it was planned, seconds since 1970. taken: ids of batches that are known to be others.
        Raises UndecidedBatchError where this cannot be told yet, RequestError.
        """
        ...

    async def batch_state(self, remote_id: str) -> BatchState:
        """How far a batch is. Raises RequestError."""
        ...

    def batch_results(self, remote_id: str) -> AsyncIterator[tuple[str, Response | RequestError]]:
        """Each finished call by request id: its reply, or what went wrong with it. Raises RequestError."""
        ...


class Respondent(Protocol[Task_contra, Said_co]):
    """Who is asked each task by one call, and again where the reply cannot be read: an annotator, a critic, a judge."""

    name: str

    def request(self, task: Task_contra, attempt: int = 0) -> CompletionRequest:
        """The call that asks `task`; attempt: 0, then one more for each reply that could not be read."""
        ...

    async def complete(self, request: CompletionRequest) -> Response:
        """Send one request once. Raises RequestError or one of its kinds."""
        ...

    def read(self, response: bytes) -> Completion:
        """The completion in a raw reply. Raises RequestError where there is none."""
        ...

    def said(self, task: Task_contra, completion: Completion) -> Said_co:
        """What a whole completion says to the task: of an annotator the correction, which may equal the answer.

        Raises RequestError where it cannot be read.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


Annotator = Respondent[CorrectionTask, str]
