"""Answers over real sockets: each prompt paid once, faults retried or told, budgets and keys respected."""

import sqlite3
import time

import pytest

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from curate.ledger.journal import Ledger
from curate.pipeline import dry_run, run_stage, survey
from curate.store.run import RunStore
from schemas.errors import ConfigError, SourceError, StageError, UsageError
from tests.llm_server import FATAL_KEY


def generate(pipeline: Pipeline, *, again: bool = False):
    run_stage(pipeline, "filter", lambda _: None, again=False)
    run_stage(pipeline, "generate", lambda _: None, again=again)
    return RunStore(pipeline.workdir)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_every_prompt_gets_its_answer(served, server, provider):
    store = generate(served(provider))
    answers = store.table("generate", "answers").collect()
    prompts = store.table("filter", "prompts").collect()
    joined = answers.join(prompts, on="prompt_id", validate="1:1", suffix="_asked")
    assert joined.height == 5
    assert (joined["text"] == "Answer to: " + joined["text_asked"]).all()
    assert set(server.asked.values()) == {1}


def test_sampling_settings_are_sent(served, server):
    generate(
        served(keys="sampling = { temperature = 0.5, top_k = 10, repetition_penalty = 1.1, max_tokens = 9 }", prompts=1)
    )
    body = server.bodies[0]
    assert (body["temperature"], body["top_k"], body["repetition_penalty"], body["max_tokens"]) == (0.5, 10, 1.1, 9)


@pytest.mark.parametrize(
    "fault",
    [
        (429, {"Retry-After": "0.05"}, b'{"error": {"message": "slow down"}}'),
        (500, {}, b"oops"),
        (503, {}, b"{}"),
        (529, {}, b"{}"),
        (0, {}, b""),
    ],
)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_passing_fault_is_asked_again(served, server, provider, fault):
    server.faults = [fault]
    store = generate(served(provider))
    assert store.published("generate").accounting.kept == 5
    assert server.asked.total() == 6


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}', "empty"),
        (b'{"choices": [{"message": {"content": "half"}, "finish_reason": "length"}]}', "truncated"),
        (b'{"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}]}', "filtered"),
        (b'{"choices": [{"message": {"content": "a\\ud800"}, "finish_reason": "stop"}]}', "malformed"),
    ],
)
def test_a_reply_that_is_no_answer_is_a_failure_row_and_is_not_paid_again(served, server, body, kind):
    server.faults = [(200, {}, body)]
    pipeline = served()
    store = generate(pipeline)
    assert store.published("generate").failed_by == {kind: 1}
    generate(pipeline, again=True)
    assert server.asked.total() == 5


def test_a_refused_request_is_a_failure_row_with_the_servers_words(served, server):
    server.faults = [(400, {}, b'{"error": {"message": "prompt too long for this model"}}')]
    failures = generate(served()).table("generate", "failures").collect()
    assert failures["kind"].to_list() == ["refused_request"]
    assert "prompt too long" in failures["detail"][0]


def test_a_wrong_key_stops_the_provider_and_is_shown_nowhere(served, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "wrong-key")
    pipeline = served(keys='api_key_env = "TEST_KEY"')
    with pytest.raises(StageError, match=r"served: unauthorized: 401: .*\*\*\*") as caught:
        generate(pipeline)
    assert "wrong-key" not in str(caught.value)
    everything = b"".join(path.read_bytes() for path in pipeline.workdir.rglob("*") if path.is_file())
    assert b"wrong-key" not in everything


def test_a_key_that_is_not_set_is_named_before_any_call(served, server):
    with pytest.raises(ConfigError, match="the environment variable NO_SUCH_KEY"):
        generate(served(keys='api_key_env = "NO_SUCH_KEY"'))
    assert not server.asked


def test_a_dead_server_stops_the_stage_and_keeps_what_came(served, server):
    pipeline = served(prompts=40, keys="max_attempts = 1\nmax_in_flight = 4")
    server.faults = [(200, {}, b'{"choices": [{"message": {"content": "kept"}, "finish_reason": "stop"}]}')]
    server.faults += [(500, {}, b"dead")] * 40
    with pytest.raises(StageError, match="calls in a row failed; the last: server_error: 500"):
        generate(pipeline)
    server.faults = []
    assert generate(pipeline).published("generate").accounting.kept == 40


def test_a_hard_budget_is_never_passed_and_resumes_where_it_stopped(served, server):
    server.answer = lambda _: "ten words " * 5
    price = "price = { input = 1000000, output = 1000000 }\nsampling = { max_tokens = 20 }\nmax_in_flight = 2"
    with pytest.raises(StageError, match="the budget of the stage generate is used up"):
        generate(served(prompts=20, keys=price, generate="budget_usd = 250"))
    with Ledger(served(prompts=20).workdir / "ledger.sqlite") as ledger:
        spent = ledger.spent_nano_usd("generate") / 1e9
    assert 0 < spent <= 250
    asked = server.asked.total()
    assert (
        generate(served(prompts=20, keys=price, generate="budget_usd = 5000")).published("generate").accounting.kept
        == 20
    )
    assert server.asked.total() == 20 > asked


def test_one_more_prompt_asks_once_more(served, server):
    generate(served(prompts=5))
    generate(served(prompts=6))
    assert set(server.asked.values()) == {1}


def test_a_server_that_moves_is_not_asked_again(served, server, tmp_path):
    generate(served())
    text = (tmp_path / "pipelines.toml").read_text().replace(server.url, "http://127.0.0.1:9")
    (tmp_path / "pipelines.toml").write_text(text)
    from curate.config.reading import read_pipeline

    moved = read_pipeline(tmp_path / "pipelines.toml")
    assert generate(moved, again=True).published("generate").accounting.kept == 5


def test_pace_is_kept(served):
    started = time.monotonic()
    generate(served(prompts=6, keys="requests_per_minute = 600"))
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_limit_that_only_the_headers_tell_is_kept_from_the_second_call_on(served, server, provider):
    server.requests_per_minute, server.limit_capacity_s = 1200, 0.5
    store = generate(served(provider, prompts=40))
    assert store.published("generate").accounting.kept == 40
    assert sum(server.asked.values()) == 40


PRICE = "price = { input = 1.0, output = 2.0 }\nsampling = { max_tokens = 100 }"


def test_a_dry_run_tells_what_would_be_sent_and_sends_nothing(served, server):
    pipeline = served(keys=PRICE)
    run_stage(pipeline, "filter", lambda _: None, again=False)
    (found,) = dry_run(pipeline, "generate")
    assert not server.asked
    assert (found.model, found.calls, found.recorded, found.to_send) == ("served", 5, 0, 5)
    assert found.output_tokens_at_most == 500
    run_stage(pipeline, "generate", lambda _: None, again=False)
    with sqlite3.connect(pipeline.workdir / "ledger.sqlite") as connection:
        sent_bytes = connection.execute("SELECT SUM(LENGTH(body)) FROM completions").fetchone()[0]
    connection.close()
    assert found.cost_nano_usd_at_most == sent_bytes * 1000 + 500 * 2000


def test_a_dry_run_after_the_run_has_nothing_to_send(served, server):
    pipeline = served(keys=PRICE)
    generate(pipeline)
    (found,) = dry_run(pipeline, "generate")
    assert (found.calls, found.recorded, found.to_send, found.cost_nano_usd_at_most) == (5, 5, 0, 0)
    assert server.asked.total() == 5


def test_one_more_prompt_costs_only_its_own_call(served):
    generate(served(keys=PRICE))
    pipeline = served(keys=PRICE, prompts=6)
    run_stage(pipeline, "filter", lambda _: None, again=False)
    assert dry_run(pipeline, "generate")[0].to_send == 1


def test_without_a_price_the_cost_is_unknown(served):
    pipeline = served()
    run_stage(pipeline, "filter", lambda _: None, again=False)
    assert dry_run(pipeline, "generate")[0].cost_nano_usd_at_most is None


def test_a_stage_that_calls_no_model_has_no_dry_run(served):
    with pytest.raises(UsageError, match="filter calls no model"):
        dry_run(served(), "filter")


def test_a_recorded_model_without_any_answer_is_a_fault(small):
    small.write_text(small.read_text().replace('name = "two"', 'name = "tow"'))
    pipeline = read_pipeline(small)
    run_stage(pipeline, "filter", lambda _: None, again=False)
    with pytest.raises(SourceError, match="holds no answer of tow") as caught:
        run_stage(pipeline, "generate", lambda _: None, again=False)
    assert "one, two" in caught.value.do


def replying(content: bytes):
    return (200, {}, content)


def usage(tokens: str) -> bytes:
    choice = '{"message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}'
    return f'{{"choices": [{choice}], "usage": {{"prompt_tokens": {tokens}, "completion_tokens": 1}}}}'.encode()


@pytest.mark.parametrize("tokens", ["99999999999999999999", "-5", "12.0", '"12"', "[1]", "null"])
def test_an_odd_count_of_tokens_costs_the_worst_case_and_loses_no_reply(served, server, tokens):
    server.faults = [replying(usage(tokens))]
    store = generate(served(keys=PRICE, prompts=3))
    assert store.published("generate").accounting.kept == 3
    with Ledger(store.workdir / "ledger.sqlite") as ledger:
        assert ledger.spent_nano_usd("generate") > 200_000


@pytest.mark.parametrize("content", [b'{"error": {"message": "overloaded"}}', b"<html>busy</html>", b"", b"[" * 3000])
def test_an_error_sent_as_a_success_is_asked_again_and_never_kept(served, server, content):
    server.faults = [replying(content)]
    assert generate(served(prompts=2)).published("generate").accounting.kept == 2
    assert server.asked.total() == 3


def test_an_error_sent_as_a_success_to_the_end_is_a_failure_that_again_asks_anew(served, server):
    server.faults = [replying(b'{"error": {"message": "overloaded \\ud83d"}}')] * 2
    pipeline = served(prompts=1, keys="max_attempts = 2")
    store = generate(pipeline)
    assert store.published("generate").failed_by == {"error_reply": 1}
    generate(pipeline, again=True)
    assert store.published("generate").accounting.kept == 1


def test_a_key_that_a_server_repeats_stays_out_of_every_file(served, server, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-SECRET123456")
    server.faults = [replying(b'{"error": {"message": "bad key sk-SECRET123456"}}')] * 2
    server.answer = lambda prompt: "your key is sk-SECRET123456"
    pipeline = served(prompts=2, keys='api_key_env = "SOME_KEY"\nmax_attempts = 2\nmax_in_flight = 1')
    generate(pipeline)
    for path in pipeline.workdir.rglob("*"):
        assert path.is_dir() or b"sk-SECRET123456" not in path.read_bytes(), path


@pytest.mark.parametrize("key", ["sk-ключ", "sk-a\nb"])
def test_a_key_that_cannot_be_one_is_told_without_showing_it(served, monkeypatch, key):
    monkeypatch.setenv("SOME_KEY", key)
    with pytest.raises(ConfigError, match="characters that no key has") as caught:
        generate(served(keys='api_key_env = "SOME_KEY"'))
    assert key not in str(caught.value)


@pytest.mark.parametrize("retry_after", ["nan", "inf", "-1", "soon"])
def test_an_odd_retry_after_neither_hangs_nor_spins(served, server, retry_after):
    server.faults = [(429, {"Retry-After": retry_after}, b"{}")]
    assert generate(served(prompts=1)).published("generate").accounting.kept == 1
    assert server.asked.total() == 2


def test_a_failed_new_try_leaves_a_done_stage_done(served, server, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "good")
    pipeline = served(prompts=3, keys='api_key_env = "SOME_KEY"\nmax_attempts = 1')
    server.faults = [(500, {}, b"oops")]
    assert generate(pipeline).published("generate").accounting.failed == 1
    monkeypatch.setenv("SOME_KEY", FATAL_KEY)
    with pytest.raises(StageError, match="unauthorized"):
        generate(pipeline, again=True)
    assert {one.name: one.state for one in survey(pipeline)}["generate"] == "done"
