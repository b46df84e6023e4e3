"""Runs that end early: killed, interrupted, terminated. Nothing that was paid is lost, at most what flew is paid twice."""

import os
import random
import signal
import threading
import time

import pytest

from curate.ledger.accounts import sent_by_model
from curate.pipeline import run_stage
from curate.store.run import RunStore
from tests.commands import until
from tests.conftest import published_hashes
from tests.curate.stages.conftest import model, written
from tests.curate.stages.killing import Killer, command

WIDTH = 4
STOPPED = "stopped; replies that came in are kept, and the same command goes on from here"


def generate(pipeline):
    run_stage(pipeline, "generate", lambda _: None, again=False)
    return RunStore(pipeline.workdir)


def test_twenty_kills_in_a_row_cost_at_most_what_was_in_flight(asking, server):
    keys = {"max_in_flight": WIDTH}
    pipeline = asking(model("o", server, **keys), model("a", server, "anthropic", **keys), prompts=240)
    ledger = pipeline.workdir / "ledger.sqlite"
    server.before_answer = killer = Killer()
    chance = random.Random(7)
    for _ in range(20):
        killer.kill(pipeline, after=chance.randint(1, 16))
        sent = sent_by_model(ledger)
        assert all(one["possibly_paid"] <= WIDTH for one in sent), sent
        assert sum(one["sent"] for one in sent) >= server.asked.total()
    assert generate(pipeline).published("generate").accounting.kept == 240
    assert len(server.asked) == 240
    assert server.asked.total() - 240 <= 20 * 2 * WIDTH
    sent = sent_by_model(ledger)
    assert sum(one["replies"] for one in sent) == 240
    assert all(one["possibly_paid"] == 0 for one in sent)
    assert sum(one["sent"] for one in sent) >= server.asked.total()


def some_empty(server, seed, share):
    """An answer or none, by the prompt alone: the same in every run."""
    server.answer = lambda prompt: "" if random.Random(f"{seed} {prompt}").random() < share else f"{seed}: {prompt}"


def test_killed_runs_that_fall_back_end_in_the_bytes_of_an_undisturbed_one(server, second, third, tmp_path):
    for number, one in enumerate((server, second, third)):
        some_empty(one, number, 0.4)
    models = [model("o", server), model("a", second, "anthropic"), model("c", third)]
    models = [one | {"max_in_flight": WIDTH} for one in models]
    results = []
    for name, kills in (("undisturbed", 0), ("killed", 5)):
        (tmp_path / name).mkdir()
        generate_keys = {"answers_per_prompt": 2, "samples_per_model": 2, "fallback": True}
        pipeline = written(tmp_path / name, *models, prompts=50, generate=generate_keys)
        killer = Killer()
        for one in (server, second, third):
            one.before_answer = killer
        for kill in range(kills):
            killer.kill(pipeline, after=11 * (kill + 1))
        generate(pipeline)
        results.append(published_hashes(pipeline.workdir))
    assert results[0] == results[1]


@pytest.fixture
def gate(server):
    """Closed: answers wait at the server until it is opened. 20 answers come before it closes."""
    gate, free, waiting = threading.Event(), iter(range(20)), []

    def pass_gate():
        if next(free, None) is None:
            waiting.append(1)
            gate.wait(60)

    server.before_answer = pass_gate
    gate.waiting = waiting
    yield gate
    gate.set()


@pytest.fixture
def held(asking, server, gate):
    """A command that has 8 calls in flight, which the closed gate holds, and its pipeline."""
    pipeline = asking(
        model("o", server, max_in_flight=4),
        model("a", server, "anthropic", max_in_flight=4),
        prompts=40,
        generate={"answers_per_prompt": 2},
    )
    running = command(pipeline)
    until(lambda: len(gate.waiting) == 8)
    yield pipeline, running
    running.process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_what_is_in_flight_and_sends_nothing_more(held, server, gate, number):
    pipeline, running = held
    os.kill(running.pid, number)
    until(lambda: "waiting for 8 calls in flight, nothing more is sent; once more to stop at once" in running.err)
    asked = server.asked.total()
    gate.set()
    assert running.ended() == 1
    assert STOPPED in running.err
    assert server.asked.total() == asked
    sent = sent_by_model(pipeline.workdir / "ledger.sqlite")
    assert sum(one["replies"] for one in sent) == sum(one["sent"] for one in sent) == asked
    assert generate(pipeline).published("generate").accounting.kept == 80
    assert server.asked.total() == 80


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_stops_at_once(held, server, gate, number):
    pipeline, running = held
    os.kill(running.pid, number)
    until(lambda: "once more to stop at once" in running.err)
    started = time.monotonic()
    os.kill(running.pid, number)
    assert running.ended() == 1
    assert time.monotonic() - started < 5
    assert STOPPED in running.err
    assert sum(one["possibly_paid"] for one in sent_by_model(pipeline.workdir / "ledger.sqlite")) == 8
    gate.set()
    assert generate(pipeline).published("generate").accounting.kept == 80
    assert server.asked.total() == 80 + 8


def test_a_signal_in_a_long_pause_ends_the_run_at_once(asking, server):
    server.faults = [(429, {"Retry-After": "50"}, b"{}")] * 3
    running = command(asking(model("o", server, max_in_flight=2), prompts=5))
    until(lambda: server.asked.total() > 0)
    time.sleep(0.3)
    os.kill(running.pid, signal.SIGINT)
    started = time.monotonic()
    assert running.ended() == 1
    assert time.monotonic() - started < 5
    assert "waiting for 0 calls" in running.err


def test_a_drain_gives_up_what_fails_meanwhile(asking, server, gate):
    pipeline = asking(model("o", server, max_in_flight=8), prompts=40)
    server.inject, server.inject_once = {"error_object": 0.3}, True
    running = command(pipeline)
    until(lambda: len(gate.waiting) == 8)
    os.kill(running.pid, signal.SIGINT)
    until(lambda: "once more to stop at once" in running.err)
    asked = server.asked.total()
    gate.set()
    assert running.ended() == 1
    assert server.asked.total() == asked
    assert generate(pipeline).published("generate").accounting.kept == 40
    assert server.asked.total() == 40 + len(server.suffered)
