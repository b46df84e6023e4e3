"""Batches through kills, Ctrl-C and broken submissions: nothing is submitted twice, and no row is lost."""

import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from curate.config.model import Pipeline
from curate.ledger.accounts import batches
from curate.pipeline import run_stage
from schemas.errors import StageError
from tests.commands import Command, until
from tests.curate.asking.test_batching import BATCH, PRICE, VENDORS, generate, model, sizes
from tests.curate.stages.killing import command
from tests.llm_server import Batch, LLMServer
from tests.llm_server.asked import Kind, read_asked
from tests.llm_server.batches import BatchRequest


def started(pipeline: Pipeline) -> Command:
    """A process that runs generate."""
    run_stage(pipeline, "filter", lambda _: None, again=False)
    return command(pipeline)


def ended(process: Command, number: int) -> int | None:
    """The exit code after this signal."""
    os.kill(process.pid, number)
    return process.ended()


def moved(pipeline: Pipeline, old: str, new: str) -> None:
    path: Path = pipeline.folder / "pipelines.toml"
    path.write_text(path.read_text().replace(old, new))


def both(served, server: LLMServer, keys: str = BATCH, generate: str = "") -> Pipeline:
    """A pipeline that asks each prompt of a model in batches of either vendor."""
    keys += model(server, "claude", "anthropic", keys)
    return served(keys=keys, generate="answers_per_prompt = 2\n" + generate)


def batched_prompts(server: LLMServer) -> Counter[tuple[str, str]]:
    """How many batches hold a prompt, by vendor and prompt."""
    return Counter((batch.vendor, one.asked.prompt) for batch in server.batches.values() for one in batch.requests)


def test_a_run_killed_before_its_batches_arrived_submits_them_once(served, server):
    budget = "budget_usd = 100"  # exactly the worst case of all calls
    pipeline = both(served, server, BATCH + PRICE, budget)
    ledger = pipeline.workdir / "ledger.sqlite"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        moved(pipeline, server.url, f"http://127.0.0.1:{silent.getsockname()[1]}")
        process = started(pipeline)
        until(lambda: ledger.is_file() and len(batches(ledger)) == 2)
        ended(process, signal.SIGKILL)
    assert generate(both(served, server, BATCH + PRICE, budget)).published("generate").accounting.kept == 10
    assert [one["state"] for one in batches(ledger)] == ["never_submitted"] * 2 + ["ended"] * 2
    assert set(batched_prompts(server).values()) == {1}


def test_a_run_killed_before_its_batches_were_acknowledged_fetches_them(served, server):
    both_are_there = threading.Barrier(2)

    def kill() -> None:
        both_are_there.wait(15)
        os.kill(process.pid, signal.SIGKILL)

    pipeline = both(served, server)
    server.after_batch_submitted = kill
    process = started(pipeline)
    assert process.ended() == -signal.SIGKILL
    assert [one["state"] for one in batches(pipeline.workdir / "ledger.sqlite")] == ["planned", "planned"]
    server.after_batch_submitted = lambda: None
    assert generate(pipeline).published("generate").accounting.kept == 10
    assert sizes(server) == [5, 5]
    assert set(batched_prompts(server).values()) == {1}


def test_a_run_killed_while_it_polls_fetches_its_batches(served, server):
    server.batch_polls = 10**9
    pipeline = both(served, server, BATCH + "batch_requests = 3")
    process = started(pipeline)
    until(lambda: len(server.batches) == 4 and all(batch.polls > 1 for batch in server.batches.values()))
    ended(process, signal.SIGKILL)
    server.batch_polls = 1
    assert generate(pipeline).published("generate").accounting.kept == 10
    assert len(server.batches) == 4
    assert set(batched_prompts(server).values()) == {1}


def test_ctrl_c_leaves_batches_at_work_and_the_next_run_fetches_them(served, server):
    server.batch_polls = 10**9
    pipeline = served(keys=BATCH)
    process = started(pipeline)
    until(lambda: any(batch.polls > 1 for batch in server.batches.values()))
    assert ended(process, signal.SIGINT) == 1
    said = process.err
    (batch_id,) = server.batches
    assert f"served: 1 batches are at work: {batch_id}; run again to fetch" in said
    assert "waiting for 0 calls in flight" in said
    assert "the same command goes on from here" in said
    server.batch_polls = 1
    assert generate(pipeline).published("generate").accounting.kept == 5
    assert sizes(server) == [5]


FAULTS = {
    "rate limit": (429, {"Retry-After": "0.05"}, b'{"error": {"message": "slow down"}}'),
    "server error": (500, {}, b"oops"),
    "unavailable": (503, {}, b"{}"),
    "closed": (0, {}, b""),
    "web page": (200, {}, b"<html>busy</html>"),
}
FILE = {"id": "file-0", "object": "file", "bytes": 1, "created_at": 1, "filename": "a", "purpose": "batch"}
A_FILE = (200, {}, json.dumps(FILE | {"status": "processed"}).encode())


@pytest.mark.parametrize(
    ("provider", "faults"),
    [
        ("openai", [FAULTS["server error"]]),  # at the file
        *(("openai", [A_FILE, FAULTS[name]]) for name in ("rate limit", "closed", "web page")),
        *(("anthropic", [FAULTS[name]]) for name in ("rate limit", "unavailable", "web page")),
    ],
)
def test_a_submission_that_did_not_arrive_is_made_again(served, server, provider, faults):
    server.batch_faults = faults
    assert generate(served(provider, keys=BATCH)).published("generate").accounting.kept == 5
    assert sizes(server) == [5]


@VENDORS
def test_a_provider_that_takes_no_batch_stops_the_model_after_max_attempts(served, server, provider):
    server.batch_faults = [FAULTS["rate limit"]] * 9
    with pytest.raises(StageError, match="served: rate_limited: 429: .*slow down"):
        generate(served(provider, keys=BATCH + "max_attempts = 3"))
    assert len(server.batch_faults) == 6
    server.batch_faults = []
    assert generate(served(provider, keys=BATCH)).published("generate").accounting.kept == 5
    assert sizes(server) == [5]


@VENDORS
def test_a_submission_that_arrived_but_was_answered_by_an_error_is_not_made_again(served, server, provider):
    def breaks() -> None:
        server.after_batch_submitted = lambda: None
        raise RuntimeError("the gateway gave up")

    server.after_batch_submitted = breaks
    assert generate(served(provider, keys=BATCH)).published("generate").accounting.kept == 5
    assert sizes(server) == [5]


def test_a_submission_that_timed_out_but_arrived_is_not_made_again(served, server):
    server.after_batch_submitted = lambda: time.sleep(1.5)
    store = generate(served("anthropic", keys=BATCH + "timeout_s = 1"))
    assert store.published("generate").accounting.kept == 5
    assert sizes(server) == [5]


@VENDORS
def test_where_batches_cannot_be_listed_nothing_is_submitted_again(served, server, provider):
    def breaks() -> None:
        server.after_batch_submitted = lambda: None
        server.batch_faults = [FAULTS["server error"], FAULTS["closed"], FAULTS["web page"]]
        raise RuntimeError("the gateway gave up")

    server.after_batch_submitted = breaks
    store = generate(served(provider, keys=BATCH + "batch_requests = 3"))
    assert store.published("generate").accounting.kept == 5
    assert sizes(server) == [3, 2]


@VENDORS
def test_faults_while_polling_and_fetching_lose_nothing(served, server, provider):
    def faults() -> None:
        server.batch_faults = list(FAULTS.values())

    server.after_batch_submitted = faults
    assert generate(served(provider, keys=BATCH)).published("generate").accounting.kept == 5
    assert sizes(server) == [5]


@pytest.mark.parametrize(("provider", "status"), [("openai", 404), ("anthropic", 401)])
def test_a_batch_that_cannot_be_read_stops_its_model_alone_and_is_fetched_later(served, server, provider, status):
    def fault() -> None:
        server.batch_faults = [(status, {}, b'{"error": {"message": "not for you"}}')]

    server.after_batch_submitted = fault
    pipeline = served(provider, keys=BATCH + model(server, "fast", "openai"), generate="answers_per_prompt = 2")
    with pytest.raises(StageError, match=f"5 new replies .* served: .*{status}: .*not for you"):
        generate(pipeline)
    assert generate(pipeline).published("generate").accounting.kept == 10
    assert set(server.asked.values()) == {2}


@VENDORS
def test_batches_that_are_refused_do_not_hold_up_another_model(served, server, provider):
    server.batch_faults = [(400, {}, b'{"error": {"message": "no batches for you"}}')]
    keys = BATCH + model(server, "fast", "openai")
    with pytest.raises(StageError, match="5 new replies .* served: refused_request: 400: .*no batches for you"):
        generate(served(provider, keys=keys, generate="answers_per_prompt = 2"))


def unrelated(server: LLMServer, calls: int) -> Batch:
    """Somebody else's batch in the same account."""
    body = {"messages": [{"role": "user", "content": "Not ours."}], "max_tokens": 9}
    requests = [BatchRequest(f"theirs-{n}", read_asked(Kind.MESSAGES, body)) for n in range(calls)]
    return Batch(f"msgbatch_theirs_{len(server.batches)}", "anthropic", requests, time.time())


@pytest.mark.parametrize("has_arrived", [True, False])
@pytest.mark.parametrize("theirs_polls", [-5, 5])
def test_a_batch_of_the_same_size_is_not_taken_for_ours(served, server, has_arrived, theirs_polls):
    def put() -> None:
        theirs = unrelated(server, 5)
        theirs.polls = -theirs_polls
        server.batches[theirs.batch_id] = theirs

    def breaks() -> None:
        server.after_batch_submitted = lambda: None
        put()
        raise RuntimeError("the gateway gave up")

    if has_arrived:
        server.after_batch_submitted = breaks
    else:
        put()
        server.batch_faults = [FAULTS["server error"]]
    assert generate(served("anthropic", keys=BATCH)).published("generate").accounting.kept == 5
    assert server.asked.total() == 5
    assert set(server.asked.values()) == {1}
