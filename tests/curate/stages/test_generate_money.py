"""Hard limits of money hold under faults and over many runs; no key ends up in a file or on a stream."""

import json
import sqlite3
from contextlib import closing, suppress

import pytest

from curate.ledger.journal import Ledger
from curate.pipeline import run_stage
from curate.store.run import RunStore
from schemas.errors import StageError
from tests.commands import Command
from tests.curate.stages.conftest import model

MILLION = 1_000_000
PRICED = {"price": {"input": MILLION, "output": MILLION}, "sampling": {"max_tokens": 20}, "max_in_flight": 4}
"""A token costs one USD, and a call about 150 at most."""


def generate(pipeline, *, again=False):
    run_stage(pipeline, "generate", lambda _: None, again=again)
    return RunStore(pipeline.workdir)


def spent(pipeline):
    with Ledger(pipeline.workdir / "ledger.sqlite") as ledger:
        return ledger.spent_nano_usd("generate") / 1e9


def billed(server):
    """What a vendor would bill at one USD a token."""
    return sum(count * (len(p.split()) + len(server.answer(p).split())) for p, count in server.answered.items())


def test_a_models_budget_stops_that_model_alone(asking, server, second):
    pipeline = asking(
        model("poor", server, budget_usd=300, **PRICED),
        model("rich", second, "anthropic", **PRICED),
        prompts=40,
        generate={"answers_per_prompt": 2},
    )
    with pytest.raises(StageError, match=r"in the ledger; poor: the budget of poor is used up[^;]*$"):
        generate(pipeline)
    assert 0 < server.answered.total() < 40
    assert second.answered.total() == 40
    assert billed(server) <= 300


@pytest.mark.parametrize(("where", "what"), [("generate", "the stage generate"), ("pipeline", "the pipeline")])
def test_a_shared_budget_stops_all_models_before_it_is_passed(asking, server, second, where, what):
    limits = {"generate": {"answers_per_prompt": 2}}
    (limits["generate"] if where == "generate" else limits)["budget_usd"] = 500
    models = [model("o", server, **PRICED), model("a", second, "anthropic", **PRICED)]
    with pytest.raises(StageError, match=rf"o: the budget of {what} is used up.*a: the budget of {what} is used up"):
        generate(asking(*models, prompts=60, **limits))
    assert 100 < billed(server) + billed(second) <= 500


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_cached_tokens_cost_the_cached_price(asking, server, provider):
    server.cached_tokens = 1000
    price = {"input": 10.0, "cached": 1.0, "output": 100.0}
    pipeline = asking(model("m", server, provider, price=price), prompts=1)
    generate(pipeline)
    asked, answered = 6, 8  # words, which are the server's tokens
    assert spent(pipeline) == pytest.approx((asked * 10 + 1000 * 1 + answered * 100) / MILLION)


def test_a_call_that_timed_out_counts_with_its_worst_case(asking, server):
    server.inject = {"hang": 1.0}
    pipeline = asking(model("m", server, timeout_s=0.3, max_attempts=1, **PRICED), prompts=1)
    assert generate(pipeline).published("generate").failed_by == {"timeout": 1}
    body = json.dumps(server.bodies[0], separators=(",", ":"))
    assert spent(pipeline) == len(body) + 20


def test_faults_and_resumes_never_pass_the_limit(asking, server, second):
    shares = {"cut_body": 0.1, "reset": 0.1, "error_object": 0.1, "hang": 0.03, "empty": 0.1, "invalid_json": 0.1}
    for number, one in enumerate((server, second)):
        one.inject, one.seed = {**shares, "server_error": 0.1}, number
    keys = {**PRICED, "timeout_s": 1.0, "max_attempts": 2}
    models = [model("o", server, **keys), model("a", second, "anthropic", **keys)]
    for budget_usd in (500, 500, 2000, 2000):
        pipeline = asking(*models, prompts=60, budget_usd=budget_usd, generate={"answers_per_prompt": 2})
        with suppress(StageError):
            generate(pipeline, again=True)
        assert billed(server) + billed(second) <= spent(pipeline) <= budget_usd
    for one in (server, second):
        one.inject = {}
    pipeline = asking(*models, prompts=60, budget_usd=30_000, generate={"answers_per_prompt": 2})
    accounting = generate(pipeline, again=True).published("generate").accounting
    assert accounting.kept + accounting.failed == accounting.rows_in == 120
    assert billed(server) + billed(second) <= spent(pipeline)


SECRET = "sk-SECRET-0123456789abcdef"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_key_that_a_server_repeats_everywhere_is_in_no_file_and_on_no_stream(asking, server, provider, tmp_path):
    words = json.dumps({"error": {"message": f"the key {SECRET} is bad", "type": SECRET}}).encode()
    names = ("x-request-id", "request-id", "x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit")
    headers = dict.fromkeys(names, SECRET)
    page = {**headers, "Content-Type": "text/html"}
    server.faults = [
        *((status, {**headers, "Retry-After": "0.05"}, words) for status in (429, 500, 503, 529, 400, 422)),
        *((200, headers, words), (200, page, f"<html>{SECRET}</html>".encode()), (200, headers, SECRET.encode())),
        *((status, headers, words) for status in (409, 410, 418)),
    ]
    server.answer = lambda prompt: f"{prompt} {SECRET}"
    server.reports_model = f"m/{SECRET}/m"
    pipeline = asking(model("m", server, provider, api_key_env="SOME_KEY"), prompts=30)
    environment = {"SOME_KEY": SECRET, "CURATE_TRACEBACK": "1"}
    streams = ""
    for _ in range(2):  # the second run ends with a refused key
        arguments = ("run", "--stage", "generate", "--again", "-c", str(tmp_path / "pipelines.toml"))
        running = Command(*arguments, folder=tmp_path, environment=environment)
        assert running.ended() == len(streams[:1]), running.err
        streams += running.out + running.err + " "
        server.faults = [(401, headers, words)]
    assert "unauthorized" in streams
    assert SECRET not in streams
    with closing(sqlite3.connect(pipeline.workdir / "ledger.sqlite")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM attempts").fetchone()[0] >= 30
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_key_in_the_results_of_a_batch_is_in_no_file(asking, server, provider, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY", SECRET)
    server.answer = lambda prompt: f"{prompt} {SECRET}"
    keys = {"mode": "batch", "batch_poll_s": 0.05, "api_key_env": "SOME_KEY"}
    pipeline = asking(model("m", server, provider, **keys), prompts=5)
    run_stage(pipeline, "generate", lambda _: None, again=False)
    assert RunStore(pipeline.workdir).published("generate").accounting.kept == 5
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
