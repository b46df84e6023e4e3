"""What the ledger says to people: sums by stage and model, calls possibly paid, exports, pruning."""

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from curate.ledger.journal import now
from curate.ledger.tables import connect, migrate

LOST = (
    "attempts AS a LEFT JOIN completions AS c USING (request_id) LEFT JOIN failures AS f USING (request_id) "
    "LEFT JOIN skipped AS s USING (request_id) "
    "WHERE a.outcome IS NULL AND a.batch_id IS NULL AND c.request_id IS NULL "
    "AND (f.request_id IS NULL OR f.failed_at < a.sent_at)"
)
"""Attempts that were sent and have no outcome, whose request has neither reply nor failure: their process died."""


def calls_by_model(path: Path) -> list[dict[str, Any]]:
    """Replies, tokens and money by stage and model, over all runs; empty where there is no ledger."""
    return _rows(
        path,
        "SELECT stage, name AS model, SUM(outcome = 'reply') AS calls, SUM(input_tokens) AS input_tokens, "
        "SUM(cached_tokens) AS cached_tokens, SUM(output_tokens) AS output_tokens, "
        "COALESCE(SUM(cost_nano_usd), 0) AS cost_nano_usd "
        "FROM attempts GROUP BY stage, name HAVING SUM(outcome = 'reply') OR SUM(cost_nano_usd) ORDER BY stage, name",
    )


def sent_by_model(path: Path) -> list[dict[str, Any]]:
    """By stage and model: attempts, replies, faults, requests failed for good, and those possibly paid without a reply.

    Possibly paid: sent, and neither reply nor failure came, because the process died or is at it; `at_most_nano_usd` is
    what all attempts without a known cost can have cost. latency_ms: the mean of the replies. Empty without a ledger.
    """
    return _rows(
        path,
        "SELECT a.stage AS stage, a.name AS model, COUNT(*) AS sent, "
        "COALESCE(SUM(a.outcome = 'reply'), 0) AS replies, "
        "COALESCE(SUM(a.outcome <> 'reply'), 0) AS faults, "
        "COUNT(DISTINCT CASE WHEN c.request_id IS NULL THEN f.request_id END) AS failed, "
        "COUNT(DISTINCT CASE WHEN a.outcome IS NULL AND c.request_id IS NULL "
        "AND (f.request_id IS NULL OR f.failed_at < a.sent_at) "
        "AND s.request_id IS NULL AND a.batch_id IS NULL THEN a.request_id END) AS possibly_paid, "
        "COUNT(DISTINCT s.request_id) AS skipped, "
        "COALESCE(SUM(CASE WHEN a.cost_nano_usd IS NULL THEN a.worst_nano_usd END), 0) AS at_most_nano_usd, "
        "CAST(AVG(CASE WHEN a.outcome = 'reply' THEN a.latency_ms END) AS INTEGER) AS latency_ms "
        "FROM attempts AS a LEFT JOIN completions AS c USING (request_id) LEFT JOIN failures AS f USING (request_id) "
        "LEFT JOIN skipped AS s USING (request_id) "
        "WHERE a.provider <> 'recorded' GROUP BY a.stage, a.name ORDER BY a.stage, a.name",
    )


def batches(path: Path) -> list[dict[str, Any]]:
    """All batches, the newest last."""
    return _rows(
        path,
        "SELECT stage, name AS model, remote_id, requests, state, planned_at, ended_at FROM batches ORDER BY batch_id",
    )


def skip_lost(path: Path) -> int:
    """Never send again what may have been paid without a reply; how many requests that are now."""
    with _opened(path) as connection:
        chosen = f"SELECT DISTINCT a.request_id, ? FROM {LOST} AND s.request_id IS NULL"  # noqa: S608  our own text
        return connection.execute(f"INSERT INTO skipped {chosen}", (now(),)).rowcount


def resend_lost(path: Path) -> int:
    """Undo `skip_lost`: the next run sends them again; how many they were."""
    with _opened(path) as connection:
        return connection.execute("DELETE FROM skipped").rowcount


def export(path: Path, stage: str | None, model: str | None) -> Iterator[dict[str, Any]]:
    """Every attempt in the order of sending, with the request's and the reply's body.

    A body that is no UTF-8 is given as base64 under `request_base64` or `response_base64`. Nothing without a ledger.
    """
    if not path.is_file():
        return
    with _opened(path) as connection:
        rows = connection.execute(
            "SELECT a.attempt_id, a.request_id, a.stage, a.name AS model, a.provider, a.model AS served_model, "
            "b.remote_id AS batch, a.sent_at, a.ended_at, a.outcome, a.latency_ms, a.provider_request_id, "
            "a.input_tokens, a.cached_tokens, a.output_tokens, a.cost_nano_usd, COALESCE(a.body, c.body) AS request, "
            "CASE WHEN a.outcome = 'reply' THEN c.response ELSE a.response END AS response "
            "FROM attempts AS a LEFT JOIN completions AS c USING (request_id) LEFT JOIN batches AS b USING (batch_id) "
            "WHERE (?1 IS NULL OR a.stage = ?1) AND (?2 IS NULL OR a.name = ?2) ORDER BY a.attempt_id",
            (stage, model),
        )
        names = [column[0] for column in rows.description]
        for row in rows:
            entry = dict(zip(names, row, strict=True))
            for name in ("request", "response"):
                _as_text(entry, name)
            yield entry


def count_replies(path: Path, stage: str, model: str) -> int:
    """Replies of one model in one stage that are kept: those that `prune_model` would forget."""
    query = "SELECT COUNT(DISTINCT request_id) FROM attempts JOIN completions USING (request_id)"
    with _opened(path) as connection:
        rows = connection.execute(f"{query} WHERE attempts.stage = ? AND name = ?", (stage, model))
        return int(rows.fetchone()[0])


def forget_batch(path: Path, remote_id: str) -> int:
    """Wait no more for a batch that the provider lost: its calls are sent again, and count as possibly paid."""
    with _opened(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        chosen = "SELECT batch_id FROM batches WHERE remote_id = ? AND state = 'submitted'"
        calls = connection.execute(
            f"UPDATE attempts SET outcome = 'batch_forgotten' WHERE outcome IS NULL AND batch_id IN ({chosen})",  # noqa: S608
            (remote_id,),
        )
        connection.execute("UPDATE batches SET state = 'forgotten' WHERE remote_id = ?", (remote_id,))
        connection.execute("COMMIT")
        return calls.rowcount


def prune_faults(path: Path) -> int:
    """Forget the raw bodies of attempts that brought no reply; their counts and costs stay. How many there were."""
    with _opened(path) as connection:
        return connection.execute("UPDATE attempts SET response = NULL WHERE length(response) > 0").rowcount


def prune_model(path: Path, stage: str, model: str) -> int:
    """Forget all replies of one model in one stage: a run that needs them pays again. Costs stay on the account.

    An attempt that was lost before its request was answered does not become a lost request again.
    """
    chosen = "request_id IN (SELECT request_id FROM attempts WHERE stage = ?1 AND name = ?2)"
    answered = "outcome IS NULL AND request_id IN (SELECT request_id FROM completions)"
    with _opened(path) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            f"UPDATE attempts SET outcome = 'unknown' WHERE {answered} AND {chosen}",  # noqa: S608  our own text
            (stage, model),
        )
        return connection.execute(f"DELETE FROM completions WHERE {chosen}", (stage, model)).rowcount  # noqa: S608


def compact(path: Path) -> None:
    """Give the room of what was pruned back to the disk."""
    with closing(connect(path)) as connection:
        connection.execute("VACUUM")


def _as_text(entry: dict[str, Any], name: str) -> None:
    raw = entry[name]
    if raw is None:
        return
    try:
        entry[name] = raw.decode("utf-8")
    except UnicodeDecodeError:
        entry[f"{name}_base64"] = base64.b64encode(raw).decode("ascii")
        del entry[name]


def _rows(path: Path, query: str) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with _opened(path) as connection:
        rows = connection.execute(query)
        return [dict(zip((column[0] for column in rows.description), row, strict=True)) for row in rows]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path)) as connection:
        migrate(connection, path)
        yield connection
