"""The few things that travel alone, and the protocols between stages, providers and annotators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a dialogue; `role` is user, assistant or system."""

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


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One call, as it will be sent. `request_id` is the hash of the other fields: its key in the ledger."""

    request_id: str
    provider: str
    model: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model said, read from a raw reply. `finish_reason` is stop, length, content_filter or other."""

    text: str
    finish_reason: str
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class CorrectionTask:
    """What an annotator is given: one question with its earlier turns, one answer, and which model wrote it."""

    pair_id: str
    question: str
    answer: str
    turns: tuple[Turn, ...] = ()


class Provider(Protocol):
    """Code that speaks one wire protocol. `request` and `read` are pure; `complete` is the only effect."""

    def request(self, turns: Sequence[Turn], sample_index: int = 0) -> CompletionRequest:
        """The call that asks this provider's model to go on after `turns`."""
        ...

    async def complete(self, request: CompletionRequest) -> bytes:
        """Send one request once; the raw reply. Raises RequestError or one of its kinds."""
        ...

    def read(self, response: bytes) -> Completion:
        """The completion in a raw reply. Raises RequestError where there is none."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


class Annotator(Protocol):
    """Who writes corrections by one call a task. `kind` is model or person."""

    name: str
    kind: str

    def request(self, task: CorrectionTask) -> CompletionRequest:
        """The call that asks for the correction of `task`."""
        ...

    async def complete(self, request: CompletionRequest) -> bytes:
        """Send one request once; the raw reply. Raises RequestError or one of its kinds."""
        ...

    def correction(self, task: CorrectionTask, response: bytes) -> str:
        """The correction in a raw reply; may equal the answer. Raises RequestError where there is none."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...
