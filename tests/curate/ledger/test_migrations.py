"""A ledger of the first version: its money, replies and failures are found again, whoever opens it and whatever dies."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.identity import content_id
from curate.labelling.projects import data_hash
from curate.labelling.workflow import Asked, standing
from curate.ledger.accounts import calls_by_model, export, sent_by_model, skip_lost
from curate.ledger.journal import Ended, KnownFailure, Ledger, Usage
from curate.ledger.labels import LabelBook, content_of_rulings
from curate.ledger.tables import FIRST, MIGRATIONS
from schemas.errors import StoreError
from schemas.records import CompletionRequest

AT = "2026-01-01T00:00:00.000+00:00"
AT_ONCE, SECOND_SEND, FAILED, LOST, UNSENT = (f"{n:064x}" for n in range(5))
SENT = (AT_ONCE, SECOND_SEND, SECOND_SEND, FAILED, FAILED, FAILED, LOST)


@pytest.fixture
def first(tmp_path) -> Path:
    """A file of version 1: answered at once, on the second send, failed, lost in a crash, and never sent for."""
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(FIRST)
    connection.executemany(
        "INSERT INTO intents VALUES (?, 'generate', 'openai', 'm', ?)", [(request_id, AT) for request_id in SENT]
    )
    for request_id, cost, attempts in ((AT_ONCE, 100, 1), (SECOND_SEND, 20, 2), (UNSENT, 0, 1)):
        connection.execute(
            "INSERT INTO completions VALUES (?, 'generate', 'openai', 'm', ?, ?, ?, 3, 4, ?, ?)",
            (request_id, b"{}", f"reply to {request_id}".encode(), attempts, cost, AT),
        )
    connection.execute(
        "INSERT INTO failures VALUES (?, 'generate', 'openai', 'm', 'timeout', 'slow', 3, ?)", (FAILED, AT)
    )
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    return path


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found


def test_money_is_counted_once(first):
    with Ledger(first) as ledger:
        assert ledger.spent_nano_usd() == 120
        assert ledger.spent_nano_usd("generate", "m") == 120
        assert ledger.spent_nano_usd("annotate") == 0


def test_replies_are_found_under_their_requests(first):
    with Ledger(first) as ledger:
        assert ledger.known([*SENT, UNSENT]) == {AT_ONCE, SECOND_SEND, UNSENT}
        assert ledger.responses([SECOND_SEND]) == {SECOND_SEND: f"reply to {SECOND_SEND}".encode()}


def test_failures_are_found_under_their_requests(first):
    with Ledger(first) as ledger:
        assert ledger.failures([*SENT, UNSENT]) == {FAILED: KnownFailure("timeout", "slow", 3)}


def test_replies_and_tokens_are_summed_by_model(first):
    assert calls_by_model(first) == [
        {
            "stage": "generate",
            "model": "m",
            "calls": 3,
            "input_tokens": 9,
            "cached_tokens": None,
            "output_tokens": 12,
            "cost_nano_usd": 120,
        }
    ]


def test_attempts_are_summed_by_model_and_the_lost_one_is_possibly_paid(first):
    (one,) = sent_by_model(first)
    counted = {name: one[name] for name in ("sent", "replies", "faults", "failed", "possibly_paid", "skipped")}
    assert counted == {"sent": 8, "replies": 3, "faults": 4, "failed": 1, "possibly_paid": 1, "skipped": 0}


def test_the_lost_one_alone_is_skipped(first):
    assert skip_lost(first) == 1
    with Ledger(first) as ledger:
        assert ledger.known([LOST, FAILED]) == {LOST}


def test_every_attempt_is_exported_in_the_order_of_sending(first):
    rows = list(export(first, None, None))
    assert [row["request_id"] for row in rows] == [*SENT, UNSENT]
    assert [row["outcome"] for row in rows] == ["reply", "unknown", "reply", *["timeout"] * 3, None, "reply"]
    assert [row["response"] for row in rows if row["outcome"] == "reply"] == [
        f"reply to {request_id}" for request_id in (AT_ONCE, SECOND_SEND, UNSENT)
    ]
    assert sum(row["cost_nano_usd"] or 0 for row in rows) == 120


def test_a_file_that_is_up_to_date_stays_as_it_is(first):
    Ledger(first).__exit__(None, None, None)
    before = list(export(first, None, None))
    assert version(first) == len(MIGRATIONS)
    assert list(export(first, None, None)) == before


def test_an_empty_file_of_the_first_version_becomes_an_empty_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(f"{FIRST}; PRAGMA user_version = 1;")
    connection.close()
    assert (calls_by_model(path), sent_by_model(path), list(export(path, None, None))) == ([], [], [])


OPEN = """
import sys
from pathlib import Path
from curate.ledger.journal import Ledger
with Ledger(Path(sys.argv[1])) as ledger:
    print(ledger.spent_nano_usd())
"""


def test_processes_that_open_it_at_once_change_it_once(first):
    running = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(first)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["120"] * 4
    assert sent_by_model(first)[0]["sent"] == 8


STOP_BEFORE = """
import os, signal, sys
from pathlib import Path
from curate.ledger.labels import LabelBook, content_of_rulings
from curate.ledger.tables import connect, migrate
connection = connect(Path(sys.argv[1]))
seen = 0
def before(statement):
    global seen
    seen += 1
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
connection.set_trace_callback(before)
migrate(connection, Path(sys.argv[1]))
print(seen)
"""


def killed_before(path: Path, statement: int) -> int:
    return subprocess.run([sys.executable, "-c", STOP_BEFORE, str(path), str(statement)], check=False).returncode


@pytest.mark.parametrize("statement", [3, 5, 8, 11, 13, 14])
def test_a_process_that_dies_in_the_middle_leaves_the_first_version_whole(first, statement):
    assert killed_before(first, statement) == -signal.SIGKILL
    assert version(first) == 1
    with Ledger(first) as ledger:
        assert ledger.spent_nano_usd() == 120
    assert sent_by_model(first)[0]["sent"] == 8


def test_a_newer_ledger_is_refused_and_not_touched(first):
    Ledger(first).__exit__(None, None, None)
    connection = sqlite3.connect(first)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = first.read_bytes()
    for opening in (Ledger, calls_by_model, sent_by_model, skip_lost, lambda path: list(export(path, None, None))):
        with pytest.raises(StoreError, match="newer version"):
            opening(first)
    assert first.read_bytes() == before


def test_one_that_waits_for_another_to_migrate_goes_on(first):
    holder = sqlite3.connect(first, isolation_level=None)
    holder.execute("PRAGMA journal_mode = WAL")
    holder.execute("BEGIN IMMEDIATE")
    with subprocess.Popen([sys.executable, "-c", OPEN, str(first)], stdout=subprocess.PIPE, text=True) as waiting:
        time.sleep(0.5)
        assert waiting.poll() is None
        holder.execute("ROLLBACK")
        assert waiting.communicate()[0].strip() == "120"
    holder.close()


def test_a_migrated_ledger_takes_new_calls(first):
    async def answer(ledger: Ledger) -> None:
        request = CompletionRequest(LOST, "openai", "m", b"{}")
        (attempt_id,) = await ledger.intend(request, "generate", "name", 50)
        await ledger.record(request, "generate", b"late", 1, Ended("reply", 5, "", Usage(1, 1, 7)), attempt_id)

    with Ledger(first) as ledger:
        asyncio.run(answer(ledger))
        assert ledger.responses([LOST]) == {LOST: b"late"}
        assert ledger.spent_nano_usd() == 127
    assert sum(one["possibly_paid"] for one in sent_by_model(first)) == 0


def test_what_people_did_before_there_were_steps_counts_as_it_did(tmp_path):
    path = tmp_path / "ledger.sqlite"
    uid = content_id("label", "p", "team", "pair", "How tall?", "It is tall.", "It is tall.")
    texts = content_id("data", "How tall?", "It is tall.")
    connection = sqlite3.connect(path)
    for migration in MIGRATIONS[:3]:
        connection.executescript(migration)
    task = (uid, "project", "pair", "team", "It is tall.", "It is tall.", texts, AT)
    columns = "uid, title, pair_id, annotator, answer, draft, data_hash, planned_at"
    connection.execute(f"INSERT INTO label_tasks ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", task)
    annotation = (
        "project",
        7,
        1,
        uid,
        3,
        "done",
        None,
        "ann",
        "ann",
        "minor",
        "It is 10 m tall.",
        "[]",
        "{}",
        9.0,
        AT,
        b"",
        AT,
    )
    connection.execute(f"INSERT INTO label_annotations VALUES ({', '.join('?' * len(annotation))})", annotation)
    connection.execute("PRAGMA user_version = 3")
    connection.commit()
    connection.close()
    with LabelBook(path) as book:
        found = standing(Asked("p", "team", "pair", "How tall?", "It is tall.", "A draft."), book.said())
        assert book.tasks("project")[uid].data_hash == data_hash({"question": "How tall?", "answer": "It is tall."})
    assert [ruling.text for ruling in found.rulings] == ["It is 10 m tall."]
    assert content_of_rulings(path, "p") == [[uid, "project", 7, 1]]
