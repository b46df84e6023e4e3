"""The ledger's tables, and their changes in order: a file of an earlier version is brought up to date when opened."""

import sqlite3
import time
from pathlib import Path

from schemas.errors import StoreError

LONGEST_WAIT_S = 60.0

FIRST = """
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

EVERY_ATTEMPT = """
CREATE TABLE attempts (
    attempt_id INTEGER PRIMARY KEY, request_id TEXT NOT NULL, stage TEXT NOT NULL, name TEXT NOT NULL,
    provider TEXT NOT NULL, model TEXT NOT NULL, batch_id INTEGER, worst_nano_usd INTEGER NOT NULL,
    sent_at TEXT NOT NULL, ended_at TEXT, outcome TEXT, latency_ms INTEGER, provider_request_id TEXT,
    input_tokens INTEGER, cached_tokens INTEGER, output_tokens INTEGER, cost_nano_usd INTEGER,
    body BLOB, response BLOB
);
CREATE INDEX attempts_by_request ON attempts (request_id);
CREATE INDEX attempts_of_batch ON attempts (batch_id) WHERE batch_id IS NOT NULL;
CREATE TABLE batches (
    batch_id INTEGER PRIMARY KEY, remote_id TEXT, stage TEXT NOT NULL, name TEXT NOT NULL, provider TEXT NOT NULL,
    model TEXT NOT NULL, mark TEXT NOT NULL UNIQUE, requests INTEGER NOT NULL, planned_at TEXT NOT NULL, ended_at TEXT,
    state TEXT NOT NULL
);
CREATE TABLE skipped (request_id TEXT PRIMARY KEY, skipped_at TEXT NOT NULL);
INSERT INTO attempts (request_id, stage, name, provider, model, worst_nano_usd, sent_at, ended_at, outcome)
    SELECT i.request_id, i.stage, i.model, i.provider, i.model, 0, i.sent_at, COALESCE(c.received_at, f.failed_at),
           CASE WHEN c.request_id IS NOT NULL THEN 'unknown' ELSE f.kind END
    FROM intents AS i LEFT JOIN completions AS c USING (request_id) LEFT JOIN failures AS f USING (request_id)
    ORDER BY i.rowid;
UPDATE attempts SET (outcome, input_tokens, output_tokens, cost_nano_usd) =
    (SELECT 'reply', c.input_tokens, c.output_tokens, c.cost_nano_usd FROM completions AS c
     WHERE c.request_id = attempts.request_id)
    WHERE attempt_id IN (SELECT MAX(a.attempt_id) FROM attempts AS a JOIN completions AS c USING (request_id)
                         GROUP BY a.request_id);
INSERT INTO attempts (request_id, stage, name, provider, model, worst_nano_usd, sent_at, ended_at, outcome,
                      input_tokens, output_tokens, cost_nano_usd)
    SELECT request_id, stage, model, provider, model, 0, received_at, received_at, 'reply', input_tokens, output_tokens,
           cost_nano_usd
    FROM completions WHERE request_id NOT IN (SELECT request_id FROM intents) ORDER BY rowid;
DROP TABLE intents;
"""

LABELS = """
CREATE TABLE label_projects (
    title TEXT PRIMARY KEY, url TEXT NOT NULL, annotator TEXT NOT NULL, remote_id INTEGER NOT NULL,
    cursor TEXT, made_at TEXT NOT NULL
);
CREATE TABLE label_tasks (
    uid TEXT PRIMARY KEY, title TEXT NOT NULL, pair_id TEXT NOT NULL, annotator TEXT NOT NULL, answer TEXT NOT NULL,
    draft TEXT NOT NULL, data_hash TEXT NOT NULL, planned_at TEXT NOT NULL, remote_id INTEGER, deleted_at TEXT
);
CREATE INDEX label_tasks_of_project ON label_tasks (title);
CREATE TABLE label_annotations (
    title TEXT NOT NULL, annotation_id INTEGER NOT NULL, version INTEGER NOT NULL, uid TEXT, remote_task_id INTEGER,
    state TEXT NOT NULL, why TEXT, person TEXT, editor TEXT, verdict TEXT, text TEXT, reasons TEXT, ratings TEXT,
    lead_time_s REAL, updated_at TEXT, raw BLOB NOT NULL, pulled_at TEXT NOT NULL,
    PRIMARY KEY (title, annotation_id, version)
);
CREATE INDEX label_annotations_of_task ON label_annotations (uid);
CREATE VIEW label_current AS
    SELECT a.* FROM label_annotations AS a WHERE a.version =
    (SELECT MAX(b.version) FROM label_annotations AS b WHERE b.title = a.title AND b.annotation_id = a.annotation_id);
"""

STEPS = """
ALTER TABLE label_projects ADD COLUMN pipeline TEXT NOT NULL DEFAULT '';
ALTER TABLE label_projects ADD COLUMN origin TEXT NOT NULL DEFAULT '';
UPDATE label_projects SET origin = url;
ALTER TABLE label_projects ADD COLUMN step TEXT NOT NULL DEFAULT 'correct';
ALTER TABLE label_tasks ADD COLUMN step TEXT NOT NULL DEFAULT 'correct';
ALTER TABLE label_tasks ADD COLUMN pipeline TEXT NOT NULL DEFAULT '';
ALTER TABLE label_tasks ADD COLUMN subject TEXT NOT NULL DEFAULT '[]';
CREATE TABLE label_gold (uid TEXT PRIMARY KEY, verdict TEXT NOT NULL, correction TEXT);
CREATE INDEX label_tasks_of_pair ON label_tasks (pair_id)
"""

MIGRATIONS = (FIRST, EVERY_ATTEMPT, LABELS, STEPS)
"""The file's version is the number of these that were applied; never change one that was released, append another."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a ledger that may be new; what is acknowledged is on the disk. Raises StoreError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, timeout=LONGEST_WAIT_S, isolation_level=None, check_same_thread=False)
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened as a ledger: {error}", do="restore it from a copy") from error
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply what is missing. A change of the tables and the record of that change share one transaction."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        connection.execute("ROLLBACK")
        raise StoreError(f"{path} was written by a newer version of this tool", do="upgrade aligner-curation")
    for migration in MIGRATIONS[version:]:
        for statement in migration.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


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
