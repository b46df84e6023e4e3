"""The journal of paid calls: SQLite, every raw reply under the id of its request before anyone reads it.

Writes wait for a group commit (WAL, synchronous=FULL, at most 50 together), so an acknowledged reply survives
kill -9 and power loss at 22 to 35 microseconds a row.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from schemas.errors import StoreError
from schemas.records import CompletionRequest

SCHEMA_VERSION = 1
MOST_TOGETHER = 50
LONGEST_WAIT_S = 60.0

SCHEMA = """
CREATE TABLE intents (
    request_id TEXT NOT NULL, stage TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, sent_at TEXT NOT NULL
);
CREATE INDEX intents_by_request ON intents (request_id);
CREATE TABLE completions (
    request_id TEXT PRIMARY KEY, stage TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    body BLOB NOT NULL, response BLOB NOT NULL, attempts INTEGER NOT NULL,
    input_tokens INTEGER, output_tokens INTEGER, cost_nano_usd INTEGER NOT NULL, received_at TEXT NOT NULL
);
CREATE TABLE failures (
    request_id TEXT PRIMARY KEY, stage TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    kind TEXT NOT NULL, detail TEXT NOT NULL, attempts INTEGER NOT NULL, failed_at TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one reply used, as its server says; money in billionths of a USD, so that sums are exact."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """How a request failed for good in its last run."""

    kind: str
    detail: str
    attempts: int


Write = tuple[str, tuple[Any, ...], "asyncio.Future[None]"]


class Ledger:
    """One ledger file of a working directory; one thread writes, any number of processes may share the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._reader = _connect(path)
        _migrate(self._reader, path)
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        self._reader.close()

    async def intend(self, request: CompletionRequest, stage: str) -> None:
        """Note that a call is about to be sent: after a crash this tells which calls may have been paid."""
        await self._write(
            "INSERT INTO intents VALUES (?, ?, ?, ?, ?)",
            (request.request_id, stage, request.provider, request.model, _now()),
        )

    async def record(
        self, request: CompletionRequest, stage: str, response: bytes, attempts: int, usage: Usage
    ) -> None:
        """Keep a raw reply; when this returns it is on the disk. A reply that is there already stays."""
        await self._write(
            "INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(request.request_id, stage, request.provider, request.model, request.body, response, attempts),
                *(usage.input_tokens, usage.output_tokens, usage.cost_nano_usd, _now()),
            ),
        )

    async def fail(self, request: CompletionRequest, stage: str, failure: KnownFailure) -> None:
        """Keep how a request failed; a later run asks again."""
        await self._write(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(request.request_id, stage, request.provider, request.model),
                *(failure.kind, failure.detail, failure.attempts, _now()),
            ),
        )

    def known(self, request_ids: Iterable[str]) -> set[str]:
        """Those of the requests that have a reply."""
        return {row[0] for row in self._select("SELECT request_id FROM completions WHERE request_id IN", request_ids)}

    def responses(self, request_ids: Iterable[str]) -> dict[str, bytes]:
        """Raw replies by request id; requests without one are left out."""
        return dict(self._select("SELECT request_id, response FROM completions WHERE request_id IN", request_ids))

    def failures(self, request_ids: Iterable[str]) -> dict[str, KnownFailure]:
        """The last failure of each of the requests that has one."""
        columns = "SELECT request_id, kind, detail, attempts FROM failures WHERE request_id IN"
        return {row[0]: KnownFailure(*row[1:]) for row in self._select(columns, request_ids)}

    def spent_nano_usd(self, stage: str) -> int:
        """What all recorded replies of a stage cost, over all runs."""
        total = self._reader.execute("SELECT SUM(cost_nano_usd) FROM completions WHERE stage = ?", (stage,))
        return int(total.fetchone()[0] or 0)

    def _select(self, columns: str, request_ids: Iterable[str]) -> Iterable[Any]:
        ids = list(request_ids)
        for start in range(0, len(ids), 500):
            block = ids[start : start + 500]
            yield from self._reader.execute(f"{columns} ({','.join('?' * len(block))})", block)

    async def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        done = asyncio.get_running_loop().create_future()
        self._queue.put((statement, values, done))
        await done

    def _write_all(self) -> None:
        with closing(_connect(self.path)) as connection:
            while (first := self._queue.get()) is not None:
                batch = [first]
                is_last = False
                while len(batch) < MOST_TOGETHER and not self._queue.empty():
                    following = self._queue.get()
                    if following is None:
                        is_last = True
                        break
                    batch.append(following)
                _commit(connection, batch)
                if is_last:
                    return


def calls_by_model(path: Path) -> list[dict[str, Any]]:
    """Calls, tokens and money by stage and model, for `curate status`; empty where there is no ledger."""
    return _summary(
        path,
        "SELECT stage, model, COUNT(*) AS calls, SUM(input_tokens) AS input_tokens, "
        "SUM(output_tokens) AS output_tokens, SUM(cost_nano_usd) AS cost_nano_usd "
        "FROM completions GROUP BY stage, model ORDER BY stage, model",
    )


def sent_by_model(path: Path) -> list[dict[str, Any]]:
    """By stage and model: calls sent, replies, requests that failed for good, and those possibly paid without a reply.

    Possibly paid: a request that was sent and has neither reply nor failure, because its process died or is at it.
    A run sends it again. Empty where there is no ledger.
    """
    return _summary(
        path,
        "SELECT i.stage AS stage, i.model AS model, SUM(i.sent) AS sent, COUNT(c.request_id) AS replies, "
        "SUM(c.request_id IS NULL AND f.request_id IS NOT NULL) AS failed, "
        "SUM(c.request_id IS NULL AND f.request_id IS NULL) AS possibly_paid "
        "FROM (SELECT request_id, stage, model, COUNT(*) AS sent FROM intents GROUP BY request_id) AS i "
        "LEFT JOIN completions AS c USING (request_id) LEFT JOIN failures AS f USING (request_id) "
        "GROUP BY i.stage, i.model ORDER BY i.stage, i.model",
    )


def _summary(path: Path, query: str) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with closing(_connect(path)) as connection:
        rows = connection.execute(query)
        return [dict(zip((column[0] for column in rows.description), row, strict=True)) for row in rows]


def _commit(connection: sqlite3.Connection, batch: list[Write]) -> None:
    error: sqlite3.Error | OverflowError | UnicodeError | None = None
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement, values, _ in batch:
                connection.execute(statement, values)
    except (sqlite3.Error, OverflowError, UnicodeError) as caught:
        error = caught
    loop = batch[0][2].get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(_acknowledge, [done for _, _, done in batch], error)


def _acknowledge(futures: "list[asyncio.Future[None]]", error: Exception | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(StoreError(f"the ledger cannot be written: {error}", do="free the disk, run again"))


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, timeout=LONGEST_WAIT_S, isolation_level=None, check_same_thread=False)
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened as a ledger: {error}", do="restore it from a copy") from error
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for this switch as it does for writes: two processes on a new ledger may collide."""
    deadline = time.monotonic() + LONGEST_WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """The change of the tables and the record of that change share one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        connection.execute("ROLLBACK")
        raise StoreError(f"{path} was written by a newer version of this tool", do="upgrade aligner-curation")
    if version == 0:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
