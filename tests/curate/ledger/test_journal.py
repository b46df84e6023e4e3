"""The journal keeps raw bytes, never loses an acknowledged reply, is shared by processes, and knows its own version."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from curate.ledger.accounts import calls_by_model
from curate.ledger.journal import Ended, KnownFailure, Ledger, Usage
from schemas.errors import StoreError
from schemas.records import CompletionRequest


def request(number: int) -> CompletionRequest:
    return CompletionRequest(f"{number:064x}", "openai", "model", b"{}")


def write(path, *numbers, response=b"reply", usage=Usage(3, 4, 5)):  # noqa: B008
    async def all_of_them(ledger: Ledger) -> None:
        await asyncio.gather(*(one(ledger, n) for n in numbers))

    async def one(ledger: Ledger, number: int) -> None:
        (attempt_id,) = await ledger.intend(request(number), "generate", "model", 100)
        await ledger.record(request(number), "generate", response, 1, Ended("reply", 7, "id", usage), attempt_id)

    with Ledger(path) as ledger:
        asyncio.run(all_of_them(ledger))


def test_a_reply_is_kept_byte_by_byte(tmp_path):
    raw = b'\xff\x00{"half": "\\ud800"}'
    write(tmp_path / "ledger.sqlite", 1, response=raw)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.responses([request(1).request_id]) == {request(1).request_id: raw}


def test_the_first_reply_to_a_request_stays(tmp_path):
    write(tmp_path / "ledger.sqlite", 1, response=b"first")
    write(tmp_path / "ledger.sqlite", 1, response=b"second")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert list(ledger.responses([request(1).request_id]).values()) == [b"first"]
        assert ledger.spent_nano_usd("generate") == 10, "both calls were paid"


def test_many_replies_are_found_again_in_any_number(tmp_path):
    write(tmp_path / "ledger.sqlite", *range(1234))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ids = [request(n).request_id for n in range(2000)]
        assert ledger.known(ids) == set(ids[:1234])
        assert len(ledger.responses(ids)) == 1234


def test_tokens_and_money_are_summed_by_stage_and_model(tmp_path):
    write(tmp_path / "ledger.sqlite", 1, 2)
    assert calls_by_model(tmp_path / "ledger.sqlite") == [
        {
            "stage": "generate",
            "model": "model",
            "calls": 2,
            "input_tokens": 6,
            "cached_tokens": None,
            "output_tokens": 8,
            "cost_nano_usd": 10,
        }
    ]


def test_the_last_failure_of_a_request_is_told(tmp_path):
    async def fail_twice(ledger: Ledger) -> None:
        await ledger.fail(request(1), "generate", KnownFailure("timeout", "slow", 2))
        await ledger.fail(request(1), "generate", KnownFailure("refused", "no", 1))

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        asyncio.run(fail_twice(ledger))
        assert ledger.failures([request(1).request_id]) == {request(1).request_id: KnownFailure("refused", "no", 1)}


KILLED = """
import asyncio, sys
from pathlib import Path
from curate.ledger.journal import Ended, Ledger
from schemas.records import CompletionRequest
async def write(ledger):
    for n in range(10_000):
        request = CompletionRequest(f"{n:064x}", "openai", "model", b"{}")
        (attempt_id,) = await ledger.intend(request, "generate", "model", 100)
        await ledger.record(request, "generate", b"x" * 500, 1, Ended("reply"), attempt_id)
        print(n, flush=True)
with Ledger(Path(sys.argv[1])) as ledger:
    asyncio.run(write(ledger))
"""


def test_kill_9_loses_no_reply_that_was_acknowledged(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        seen = [int(next(process.stdout)) for _ in range(200)]
        os.kill(process.pid, signal.SIGKILL)
        seen += [int(line) for line in process.stdout if line.endswith("\n")]
    with Ledger(path) as ledger:
        assert len(ledger.known(request(n).request_id for n in seen)) == len(seen)


def test_two_processes_write_one_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    code = KILLED.replace("range(10_000)", "range(int(sys.argv[2]), int(sys.argv[2]) + 300)")
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(path), start], stdout=subprocess.DEVNULL)
        for start in ("0", "300")
    ]
    assert [process.wait() for process in both] == [0, 0]
    assert calls_by_model(path)[0]["calls"] == 600


def test_a_ledger_of_a_newer_version_is_refused(tmp_path):
    write(tmp_path / "ledger.sqlite", 1)
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 50)
    with pytest.raises(StoreError, match="cannot be opened as a ledger"):
        Ledger(tmp_path / "ledger.sqlite")
