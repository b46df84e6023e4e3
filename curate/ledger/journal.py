"""Writing and reading the ledger: every attempt before it is sent, every raw reply before anyone reads it.

Writes wait for a group commit (WAL, synchronous=FULL, all of one round of the event loop together), so what
is acknowledged survives kill -9 and power loss at 22 to 35 microseconds a row.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from curate.ledger.tables import connect, migrate
from schemas.errors import StoreError
from schemas.records import CompletionRequest

if TYPE_CHECKING:
    from curate.ledger.snapshot import Snapshot

MOST_TOGETHER = 50
"""A transaction takes what is waiting; with so many writes it waits for no more."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A statement that takes many rows at once. `row` is what each row puts where `text` says {rows}."""

    text: str
    row: str

    @lru_cache(maxsize=64)  # noqa: B019  a handful of constants
    def of(self, count: int) -> str:
        """The statement for so many rows."""
        return self.text.format(rows=", ".join([self.row] * count))


SENT = Rows(
    "INSERT INTO attempts (request_id, stage, name, provider, model, batch_id, worst_nano_usd, sent_at, body) "
    "VALUES {rows}",
    "(?, ?, ?, ?, ?, (SELECT batch_id FROM batches WHERE mark = ?), ?, ?, ?)",
)
ENDED = Rows(
    "UPDATE attempts SET ended_at = column1, outcome = column2, latency_ms = column3, provider_request_id = column4, "
    "input_tokens = column5, cached_tokens = column6, output_tokens = column7, cost_nano_usd = column8, "
    "response = column9 FROM (VALUES {rows}) WHERE attempt_id = column10",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
KEPT = Rows("INSERT OR IGNORE INTO completions VALUES {rows}", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
FAILED = "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
MOST_ROWS = 256
"""In one statement; numbers of rows are powers of two, so that few statements are ever prepared."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call used, as its server says; money in billionths of a USD, so that sums are exact.

    input_tokens include cached_tokens.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nano_usd: int = 0
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended: `reply` or the kind of its fault, the time it took, the provider's id for it."""

    outcome: str
    latency_ms: int | None = None
    provider_request_id: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """How a request failed for good in its last run."""

    kind: str
    detail: str
    attempts: int


Statement = tuple[str | Rows, tuple[Any, ...]]
Write = tuple[list[Statement], "asyncio.Future[list[int]]"]


class Ledger:
    """One ledger file of a working directory; one thread writes, any number of processes may share the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: queue.SimpleQueue[list[Write] | None] = queue.SimpleQueue()
        self._pending: list[Write] = []
        self._snapshot: Snapshot | None = None
        with ExitStack() as on_failure:
            self._reader = on_failure.enter_context(closing(connect(path)))
            migrate(self._reader, path)
            self._writer = connect(path)
            on_failure.pop_all()
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pending:
            self._flush()
        self._queue.put(None)
        self._thread.join()
        self._reader.close()

    def intend(
        self, request: CompletionRequest, stage: str, name: str, worst_nano_usd: int
    ) -> "asyncio.Future[list[int]]":
        """Note that a call is about to be sent, and what it can cost; when it is on the disk, the attempt's id alone.

        After a crash this tells which calls may have been paid.
        """
        return self._write([(SENT, sent_values(request, stage, name, worst_nano_usd, None))])

    async def record(
        self, request: CompletionRequest, stage: str, response: bytes, attempts: int, ended: Ended, attempt_id: int
    ) -> None:
        """Keep a raw reply; when this returns it is on the disk. A reply that is there already stays."""
        usage = ended.usage
        kept = (
            *(request.request_id, stage, request.provider, request.model, request.body, response, attempts),
            *(usage.input_tokens, usage.output_tokens, usage.cost_nano_usd, now()),
        )
        await self._write([(KEPT, kept), _ended(attempt_id, ended, None)])

    async def record_free(self, request: CompletionRequest, stage: str, name: str, response: bytes) -> None:
        """Keep a reply that was never sent for: one of a file."""
        at = now()
        kept = (
            *(request.request_id, stage, request.provider, request.model, request.body, response, 1),
            *(None, None, 0, at),
        )
        attempt = (
            "INSERT INTO attempts (request_id, stage, name, provider, model, worst_nano_usd, sent_at, ended_at, "
            "outcome, cost_nano_usd) VALUES (?, ?, ?, ?, ?, 0, ?, ?, 'reply', 0)",
            (request.request_id, stage, name, request.provider, request.model, at, at),
        )
        await self._write([(KEPT, kept), attempt])

    async def end(self, attempt_id: int, ended: Ended, response: bytes) -> None:
        """Note that an attempt brought no usable reply, with the raw body of what came."""
        await self._write([_ended(attempt_id, ended, response)])

    async def fail(self, request: CompletionRequest, stage: str, failure: KnownFailure) -> None:
        """Keep how a request failed; a later run asks again."""
        values = (
            *(request.request_id, stage, request.provider, request.model),
            *(failure.kind, failure.detail, failure.attempts, now()),
        )
        await self._write([(FAILED, values)])

    def known(self, request_ids: Iterable[str]) -> set[str]:
        """Those of the requests that have a reply, and those that are to be skipped."""
        ids = list(request_ids)
        if self._snapshot is None and self._reader.execute("SELECT 1 FROM completions LIMIT 1").fetchone():
            from curate.ledger.snapshot import Snapshot

            self._snapshot = Snapshot(self._reader)
        found = set() if self._snapshot is None else self._snapshot.known(ids)
        rest = [one for one in ids if one not in found]
        for table in ("completions", "skipped"):
            query = f"SELECT request_id FROM {table} WHERE request_id IN"  # noqa: S608  our own text
            found |= {row[0] for row in self.select(query, rest)}
        return found

    def responses(self, request_ids: Iterable[str]) -> dict[str, bytes]:
        """Raw replies by request id; requests without one are left out."""
        return dict(self.select("SELECT request_id, response FROM completions WHERE request_id IN", request_ids))

    def failures(self, request_ids: Iterable[str]) -> dict[str, KnownFailure]:
        """The last failure of each of the requests that has one; a skipped one is possibly paid."""
        ids = list(request_ids)
        columns = "SELECT request_id, kind, detail, attempts FROM failures WHERE request_id IN"
        found = {row[0]: KnownFailure(*row[1:]) for row in self.select(columns, ids)}
        for (request_id,) in self.select("SELECT request_id FROM skipped WHERE request_id IN", ids):
            found[request_id] = KnownFailure(
                "possibly_paid",
                "its run died; `curate ledger resend`, then `curate run --stage … --again`, asks again",
                1,
            )
        return found

    def spent_nano_usd(self, stage: str | None = None, name: str | None = None) -> int:
        """What all calls of a stage, a configured model or both cost, over all runs.

        A call whose cost is not known (lost in a crash, still in flight) counts with the most that it can cost.
        """
        total = self._reader.execute(
            "SELECT SUM(COALESCE(cost_nano_usd, worst_nano_usd)) FROM attempts "
            "WHERE (?1 IS NULL OR stage = ?1) AND (?2 IS NULL OR name = ?2)",
            (stage, name),
        )
        return int(total.fetchone()[0] or 0)

    def select(self, columns: str, request_ids: Iterable[str]) -> list[Any]:
        """Rows of `columns IN (ids)`, asked in blocks of 500."""
        ids = list(request_ids)
        rows: list[Any] = []
        for start in range(0, len(ids), 500):
            block = ids[start : start + 500]
            rows += self._reader.execute(f"{columns} ({','.join('?' * len(block))})", block).fetchall()
        return rows

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        return self._reader.execute(query, values).fetchall()

    async def write(self, statements: list[Statement]) -> list[int]:
        """Apply statements in one transaction; the row id after each."""
        return await self._write(statements)

    def _write(self, statements: list[Statement]) -> "asyncio.Future[list[int]]":
        """Begun at once: all writes of one round of the event loop are one transaction."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        if not self._pending:
            loop.call_soon(self._flush)
        self._pending.append((statements, done))
        return done

    def _flush(self) -> None:
        """Hand over what one round of the event loop has gathered: one wake-up of the thread, one transaction."""
        self._queue.put(self._pending)
        self._pending = []

    def _write_all(self) -> None:
        with closing(self._writer) as connection:
            while (first := self._queue.get()) is not None:
                batch = first
                while len(batch) < MOST_TOGETHER and not self._queue.empty():
                    following = self._queue.get()
                    if following is None:
                        _commit(connection, batch)
                        return
                    batch += following
                _commit(connection, batch)


def now() -> str:
    """UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def sent_values(
    request: CompletionRequest, stage: str, name: str, worst_nano_usd: int, mark: str | None
) -> tuple[Any, ...]:
    """The values of SENT; mark: of the call's batch, written before it.

    Only a call in a batch keeps its body here: that of another is kept with its reply.
    """
    body = None if mark is None else request.body
    return (request.request_id, stage, name, request.provider, request.model, mark, worst_nano_usd, now(), body)


def _ended(attempt_id: int, ended: Ended, response: bytes | None) -> Statement:
    usage = ended.usage
    values = (
        *(now(), ended.outcome, ended.latency_ms, ended.provider_request_id or None),
        *(usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.cost_nano_usd, response, attempt_id),
    )
    return ENDED, values


def _commit(connection: sqlite3.Connection, batch: list[Write]) -> None:
    error: sqlite3.Error | OverflowError | UnicodeError | None = None
    row_ids: list[list[int]] = []
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            row_ids = _apply(connection, [statements for statements, _ in batch])
    except (sqlite3.Error, OverflowError, UnicodeError) as caught:
        error = caught
    loop = batch[0][1].get_loop()
    with suppress(RuntimeError):  # the loop has closed: nobody waits any more
        loop.call_soon_threadsafe(_acknowledge, [done for _, done in batch], row_ids, error)


def _apply(connection: sqlite3.Connection, writes: list[list[Statement]]) -> list[list[int]]:
    """Apply all statements; the row id after each. Rows of one kind go together up to the next other statement.

    Each statement gives the interpreter's lock away, and a busy event loop is slow to give it back: row by row, 54 rows
    took 5 ms of which 4 were waiting.
    """
    row_ids = [[0] * len(statements) for statements in writes]
    gathered: dict[Rows, list[tuple[int, int, tuple[Any, ...]]]] = {}
    for number, statements in enumerate(writes):
        for place, (statement, values) in enumerate(statements):
            if isinstance(statement, Rows):
                gathered.setdefault(statement, []).append((number, place, values))
                continue
            _apply_rows(connection, gathered, row_ids)
            row_ids[number][place] = connection.execute(statement, values).lastrowid or 0
    _apply_rows(connection, gathered, row_ids)
    return row_ids


def _apply_rows(
    connection: sqlite3.Connection,
    gathered: dict[Rows, list[tuple[int, int, tuple[Any, ...]]]],
    row_ids: list[list[int]],
) -> None:
    for statement, rows in gathered.items():
        start = 0
        while start < len(rows):
            count = min(MOST_ROWS, 1 << ((len(rows) - start).bit_length() - 1))
            some = rows[start : start + count]
            values = [value for *_, of_row in some for value in of_row]
            last = connection.execute(statement.of(count), values).lastrowid or 0
            for before, (number, place, _) in enumerate(reversed(some)):
                row_ids[number][place] = last - before  # ids of new rows follow each other within a transaction
            start += count
    gathered.clear()


def _acknowledge(futures: "list[asyncio.Future[list[int]]]", row_ids: list[list[int]], error: Exception | None) -> None:
    for number, future in enumerate(futures):
        if future.done():
            continue
        if error is None:
            future.set_result(row_ids[number])
        else:
            future.set_exception(StoreError(f"the ledger cannot be written: {error}", do="free the disk, run again"))
