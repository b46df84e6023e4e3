"""Batches in the ledger: planned before they are submitted, so that after a crash none is submitted twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from curate.ledger.journal import SENT, Ledger, now, sent_values
from schemas.records import CompletionRequest


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch without results. remote_id: None until the provider has acknowledged it. planned_at: in s since 1970."""

    batch_id: int
    mark: str
    requests: int
    planned_at: float
    remote_id: str | None = None


class BatchBook:
    """The batches of one model in one stage."""

    def __init__(self, ledger: Ledger, stage: str, name: str) -> None:
        self._ledger, self._stage, self._name = ledger, stage, name

    async def plan(
        self, requests: Sequence[CompletionRequest], worst_nano_usd: Sequence[int], mark: str
    ) -> tuple[OpenBatch, list[int]]:
        """Note a batch and its calls in one transaction, before anything is sent; the calls' attempt ids."""
        at = now()
        first = requests[0]
        batch = (
            "INSERT INTO batches (stage, name, provider, model, mark, requests, planned_at, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'planned')",
            (self._stage, self._name, first.provider, first.model, mark, len(requests), at),
        )
        attempts = [
            (SENT, sent_values(request, self._stage, self._name, worst, mark))
            for request, worst in zip(requests, worst_nano_usd, strict=True)
        ]
        batch_id, *attempt_ids = await self._ledger.write([batch, *attempts])
        return OpenBatch(batch_id, mark, len(requests), _seconds(at)), attempt_ids

    async def submitted(self, batch: OpenBatch, remote_id: str) -> OpenBatch:
        """The provider has it."""
        await self._ledger.write(
            [("UPDATE batches SET remote_id = ?, state = 'submitted' WHERE batch_id = ?", (remote_id, batch.batch_id))]
        )
        return replace(batch, remote_id=remote_id)

    async def forget(self, batch: OpenBatch) -> None:
        """The provider does not have it: its calls were never sent and cost nothing."""
        at = now()
        await self._ledger.write(
            [
                ("UPDATE batches SET state = 'never_submitted', ended_at = ? WHERE batch_id = ?", (at, batch.batch_id)),
                (
                    "UPDATE attempts SET outcome = 'never_submitted', ended_at = ?, cost_nano_usd = 0 "
                    "WHERE batch_id = ? AND outcome IS NULL",
                    (at, batch.batch_id),
                ),
            ]
        )

    async def ended(self, batch: OpenBatch) -> None:
        """All its results are in the ledger."""
        await self._ledger.write(
            [("UPDATE batches SET state = 'ended', ended_at = ? WHERE batch_id = ?", (now(), batch.batch_id))]
        )

    def open(self) -> list[OpenBatch]:
        """Batches whose results are not all in the ledger, the oldest first."""
        rows = self._ledger.read(
            "SELECT batch_id, mark, requests, planned_at, remote_id FROM batches "
            "WHERE stage = ? AND name = ? AND state IN ('planned', 'submitted') ORDER BY batch_id",
            (self._stage, self._name),
        )
        return [OpenBatch(row[0], row[1], row[2], _seconds(row[3]), row[4]) for row in rows]

    def remote_ids(self) -> set[str]:
        """The provider's ids of all batches that are known."""
        return {row[0] for row in self._ledger.read("SELECT remote_id FROM batches WHERE remote_id IS NOT NULL")}

    def requests(self, batch: OpenBatch) -> Iterator[tuple[int, int, CompletionRequest]]:
        """Attempt id, worst case in billionths of a USD and request of each call of a batch without an outcome."""
        rows = self._ledger.read(
            "SELECT attempt_id, worst_nano_usd, request_id, provider, model, body FROM attempts "
            "WHERE batch_id = ? AND outcome IS NULL ORDER BY attempt_id",
            (batch.batch_id,),
        )
        for attempt_id, worst, *request in rows:
            yield attempt_id, worst, CompletionRequest(*request)


def open_calls(ledger: Ledger, stage: str) -> list[tuple[str, str]]:
    """Request id and model of each call of a stage that is in a batch without results."""
    return ledger.read(
        "SELECT a.request_id, b.name FROM batches AS b JOIN attempts AS a USING (batch_id) "
        "WHERE b.stage = ? AND b.state IN ('planned', 'submitted') AND a.outcome IS NULL",
        (stage,),
    )


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
