"""Batches as both vendors know them: registered, polled, ended, each request with a fate of its own."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tests.llm_server.asked import Asked, Vendor
from tests.llm_server.errors import RefusedError

if TYPE_CHECKING:
    from tests.llm_server.server import LLMServer

Fate = Literal["succeeded", "errored", "expired", "canceled"]

DAY_S = 86_400
_FATES_OF_THE_REST: dict[str, Fate] = {"expired": "expired", "cancelled": "canceled", "failed": "errored"}


@dataclass(frozen=True)
class StoredFile:
    """A file at OpenAI."""

    file_id: str
    filename: str
    purpose: str
    content: bytes
    created_s: float


@dataclass(frozen=True)
class BatchRequest:
    """One request of a batch."""

    custom_id: str
    asked: Asked


@dataclass
class Batch:
    """One batch; `end` is how it ended, None before."""

    batch_id: str
    vendor: Vendor
    requests: list[BatchRequest]
    created_s: float
    metadata: dict[str, str] | None = None
    endpoint: str = ""
    input_file_id: str = ""
    complaints: list[dict[str, Any]] = field(default_factory=list)
    polls: int = 0
    cancelled_s: float | None = None
    ended_s: float | None = None
    end: str | None = None
    fates: dict[str, Fate] = field(default_factory=dict)
    output_file_id: str | None = None
    error_file_id: str | None = None
    results: bytes = b""

    def count(self, *fates: Fate) -> int:
        """How many requests met one of these fates."""
        return sum(fate in fates for fate in self.fates.values())


async def register(server: "LLMServer", batch: Batch) -> None:
    """A batch has arrived: its requests count as asked, and the hook runs before the reply is sent."""
    server.batches[batch.batch_id] = batch
    for one in batch.requests:
        server.note(one.asked)
    await server.call(server.after_batch_submitted)


def is_ended_by_poll(server: "LLMServer", batch: Batch) -> bool:
    """True where this look at the batch finds it ended for the first time; its fates are then drawn."""
    if batch.end is not None:
        return False
    batch.polls += 1
    if batch.polls <= server.batch_polls:
        return False
    batch.end = "cancelled" if batch.cancelled_s else "failed" if batch.complaints else server.batch_ends
    batch.ended_s = time.time()
    rest: Fate | None = _FATES_OF_THE_REST.get(batch.end)
    done = len(batch.requests) if rest is None else 0
    if batch.end in ("expired", "cancelled"):
        done = int(len(batch.requests) * server.batch_done_share)
    for place, one in enumerate(batch.requests):
        fate = server.batch_fates(one.custom_id, one.asked.prompt) if rest is None or place < done else rest
        batch.fates[one.custom_id] = fate
    return True


def cancel(batch: Batch) -> None:
    """Ask for the end; it comes after as many polls as any other."""
    batch.cancelled_s = batch.cancelled_s or time.time()
    batch.polls = 0


def find(server: "LLMServer", vendor: Vendor, batch_id: str) -> Batch:
    """The vendor's batch of this id. Raises RefusedError."""
    batch = server.batches.get(batch_id)
    if batch is None or batch.vendor != vendor:
        raise RefusedError(404, f"No batch found with id '{batch_id}'.")
    return batch


def page(ids: list[str], after: str | None, before: str | None, limit: int) -> tuple[list[str], bool]:
    """The part of a list that is asked for, and whether more follows in the direction of reading."""
    for cursor in (after, before):
        if cursor is not None and cursor not in ids:
            raise RefusedError(400, f"No such id: '{cursor}'.")
    if before is not None:
        found = ids[: ids.index(before)]
        return found[-limit:], len(found) > limit
    found = ids if after is None else ids[ids.index(after) + 1 :]
    return found[:limit], len(found) > limit
