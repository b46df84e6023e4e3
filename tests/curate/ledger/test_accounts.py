"""What the ledger says: every attempt counted once, lost ones skipped and sent again, exports, pruning."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from curate.ledger.accounts import (
    batches,
    calls_by_model,
    compact,
    count_replies,
    export,
    prune_faults,
    prune_model,
    resend_lost,
    sent_by_model,
    skip_lost,
)
from curate.ledger.batches import BatchBook
from curate.ledger.journal import Ended, KnownFailure, Ledger, Usage
from schemas.records import CompletionRequest


def request(number: int, body: bytes = b'{"ask": 1}') -> CompletionRequest:
    return CompletionRequest(f"{number:064x}", "openai", "served-m", body)


def writing(path: Path, write: Callable[[Ledger], Awaitable[object]]) -> None:
    with Ledger(path) as ledger:
        asyncio.run(write(ledger))


async def answered(ledger: Ledger, number: int, response: bytes = b"fine", name: str = "m") -> None:
    (attempt_id,) = await ledger.intend(request(number), "generate", name, 100)
    ended = Ended("reply", 40, f"req_{number}", Usage(3, 4, 7, 1))
    await ledger.record(request(number), "generate", response, 1, ended, attempt_id)


async def faulty(ledger: Ledger, number: int, kind: str = "server_error", response: bytes = b"oops") -> None:
    (attempt_id,) = await ledger.intend(request(number), "generate", "m", 100)
    await ledger.end(attempt_id, Ended(kind, 9), response)


async def lost(ledger: Ledger, number: int) -> None:
    await ledger.intend(request(number), "generate", "m", 100)


@pytest.fixture
def path(tmp_path) -> Path:
    """One answered at once, one after a fault, one failed for good, one lost, one from a file, one of another model."""

    async def write(ledger: Ledger) -> None:
        await answered(ledger, 1)
        await faulty(ledger, 2)
        await answered(ledger, 2)
        await faulty(ledger, 3, "timeout", b"")
        await ledger.fail(request(3), "generate", KnownFailure("timeout", "slow", 1))
        await lost(ledger, 4)
        await ledger.record_free(CompletionRequest("f" * 64, "recorded", "r", b"{}"), "generate", "r", b"from a file")
        await answered(ledger, 5, name="other")

    writing(tmp_path / "ledger.sqlite", write)
    return tmp_path / "ledger.sqlite"


def test_what_was_sent_is_summed_by_model(path):
    mine, other = sent_by_model(path)
    assert mine == {
        "stage": "generate",
        "model": "m",
        "sent": 5,
        "replies": 2,
        "faults": 2,
        "failed": 1,
        "possibly_paid": 1,
        "skipped": 0,
        "at_most_nano_usd": 100,
        "latency_ms": 40,
    }
    assert (other["model"], other["sent"], other["possibly_paid"], other["at_most_nano_usd"]) == ("other", 1, 0, 0)


def test_a_reply_from_a_file_was_received_and_never_sent(path):
    assert {one["model"]: one["calls"] for one in calls_by_model(path)} == {"m": 2, "other": 1, "r": 1}
    assert "r" not in {one["model"] for one in sent_by_model(path)}


def test_a_request_that_failed_first_and_was_answered_later_did_not_fail(path):
    writing(path, lambda ledger: answered(ledger, 3))
    assert sent_by_model(path)[0]["failed"] == 0


def test_a_lost_request_counts_once_however_often_it_was_lost(path):
    writing(path, lambda ledger: lost(ledger, 4))
    assert sent_by_model(path)[0]["possibly_paid"] == 1
    assert sent_by_model(path)[0]["at_most_nano_usd"] == 200


def test_a_lost_request_that_was_answered_later_is_not_possibly_paid(path):
    writing(path, lambda ledger: answered(ledger, 4))
    assert sent_by_model(path)[0]["possibly_paid"] == 0


def test_a_budget_counts_the_lost_call_with_the_most_it_can_cost(path):
    with Ledger(path) as ledger:
        assert ledger.spent_nano_usd("generate", "m") == 7 + 7 + 100


def test_a_skipped_request_is_known_failed_and_no_longer_possibly_paid(path):
    assert skip_lost(path) == 1
    assert (sent_by_model(path)[0]["possibly_paid"], sent_by_model(path)[0]["skipped"]) == (0, 1)
    with Ledger(path) as ledger:
        assert ledger.known([request(4).request_id])
        assert ledger.failures([request(4).request_id])[request(4).request_id].kind == "possibly_paid"


def test_skipping_twice_skips_once(path):
    assert (skip_lost(path), skip_lost(path)) == (1, 0)


def test_a_resent_request_is_missing_again(path):
    skip_lost(path)
    assert (resend_lost(path), resend_lost(path)) == (1, 0)
    with Ledger(path) as ledger:
        assert not ledger.known([request(4).request_id])
    assert sent_by_model(path)[0]["possibly_paid"] == 1


def test_an_export_is_one_row_per_attempt_in_order(path):
    rows = list(export(path, None, None))
    assert [row["attempt_id"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["outcome"] for row in rows] == ["reply", "server_error", "reply", "timeout", None, "reply", "reply"]
    assert [row["response"] for row in rows] == ["fine", "oops", "fine", "", None, "from a file", "fine"]
    assert rows[0]["request"] == '{"ask": 1}'
    assert (rows[0]["model"], rows[0]["served_model"], rows[0]["provider_request_id"]) == ("m", "served-m", "req_1")


@pytest.mark.parametrize(
    ("stage", "model", "count"),
    [("generate", None, 7), (None, "m", 5), ("generate", "other", 1), ("annotate", None, 0), (None, "nobody", 0)],
)
def test_an_export_takes_a_stage_a_model_or_both(path, stage, model, count):
    assert len(list(export(path, stage, model))) == count


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00", b"\xed\xa0\x80", b"\x80" * 1000])
def test_a_body_that_is_no_utf_8_is_exported_as_base64(tmp_path, raw):
    writing(tmp_path / "ledger.sqlite", lambda ledger: answered(ledger, 1, raw))
    (row,) = export(tmp_path / "ledger.sqlite", None, None)
    assert "response" not in row
    assert base64.b64decode(row["response_base64"]) == raw
    assert json.loads(json.dumps(row)) == row


def test_bodies_are_exported_byte_by_byte(tmp_path):
    raw = 'line\u2028feed \x00 "quoted" é \U0001f600'.encode()
    writing(tmp_path / "ledger.sqlite", lambda ledger: answered(ledger, 1, raw))
    (row,) = export(tmp_path / "ledger.sqlite", None, None)
    assert row["response"].encode() == raw


def test_pruning_faults_keeps_counts_costs_and_replies(path):
    before = (calls_by_model(path), sent_by_model(path))
    assert (prune_faults(path), prune_faults(path)) == (1, 0)
    assert (calls_by_model(path), sent_by_model(path)) == before
    assert [row["response"] for row in export(path, None, None)] == [
        "fine",
        None,
        "fine",
        "",
        None,
        "from a file",
        "fine",
    ]


def test_pruning_a_model_forgets_its_replies_and_keeps_its_costs(path):
    costs = {one["model"]: one["cost_nano_usd"] for one in calls_by_model(path)}
    assert prune_model(path, "generate", "m") == 2
    with Ledger(path) as ledger:
        assert ledger.known(request(n).request_id for n in range(6)) == {request(5).request_id}
        assert ledger.spent_nano_usd("generate", "m") == 114
    assert {one["model"]: one["cost_nano_usd"] for one in calls_by_model(path)} == costs


def test_what_would_be_pruned_is_what_is_pruned(path):
    writing(path, lambda ledger: answered(ledger, 1))
    assert count_replies(path, "generate", "m") == 2, "two replies to one request are kept once"
    assert prune_model(path, "generate", "m") == 2


def test_pruning_an_unknown_model_forgets_nothing(path):
    assert prune_model(path, "generate", "nobody") == 0
    assert prune_model(path, "annotate", "m") == 0


def test_pruned_replies_leave_no_lost_request_behind(path):
    writing(path, lambda ledger: answered(ledger, 4))
    prune_model(path, "generate", "m")
    assert sent_by_model(path)[0]["possibly_paid"] == 0


def test_compacting_gives_the_room_back(tmp_path):
    path = tmp_path / "ledger.sqlite"
    writing(path, lambda ledger: answered(ledger, 1, b"x" * 2_000_000))
    prune_model(path, "generate", "m")
    compact(path)
    assert path.stat().st_size < 200_000


def test_batches_are_listed_with_their_states(path):
    async def write(ledger: Ledger) -> None:
        book = BatchBook(ledger, "generate", "m")
        for number, mark in ((7, "one"), (8, "two")):
            batch, _ = await book.plan([request(number)], [50], mark)
            if mark == "one":
                await book.submitted(batch, "batch_1")

    writing(path, write)
    assert [(one["remote_id"], one["requests"], one["state"]) for one in batches(path)] == [
        ("batch_1", 1, "submitted"),
        (None, 1, "planned"),
    ]
    assert sent_by_model(path)[0]["possibly_paid"] == 1, "what is in a batch is not lost"
    assert skip_lost(path) == 1


@pytest.mark.parametrize("read", [calls_by_model, sent_by_model, batches])
def test_where_there_is_no_ledger_nothing_is_told_and_none_is_made(tmp_path, read):
    assert read(tmp_path / "deep" / "ledger.sqlite") == []
    assert list(tmp_path.iterdir()) == []


def test_exporting_no_ledger_gives_nothing_and_makes_none(tmp_path):
    assert list(export(tmp_path / "deep" / "ledger.sqlite", None, None)) == []
    assert list(tmp_path.iterdir()) == []
