"""Calls in batches, for both vendors: each prompt paid once, at half the price, and what a batch leaves is asked again."""

from collections import Counter

import pytest
from typer.testing import CliRunner

from curate.cli.app import app
from curate.config.model import Pipeline
from curate.ledger.accounts import batches
from curate.ledger.journal import Ledger
from curate.pipeline import run_stage
from curate.store.run import RunStore
from schemas.errors import StageError
from tests.llm_server import FATAL_KEY, Fate, LLMServer

BATCH = 'mode = "batch"\nbatch_poll_s = 0.1\n'
VENDORS = pytest.mark.parametrize("provider", ["openai", "anthropic"])


def generate(pipeline: Pipeline, *, again: bool = False) -> RunStore:
    run_stage(pipeline, "filter", lambda _: None, again=False)
    run_stage(pipeline, "generate", lambda _: None, again=again)
    return RunStore(pipeline.workdir)


def sizes(server: LLMServer) -> list[int]:
    return [len(batch.requests) for batch in server.batches.values()]


def model(server: LLMServer, name: str, provider: str, keys: str = "") -> str:
    """One more model on the same server, to be put after the keys of the first."""
    base = server.url + ("/v1" if provider == "openai" else "")
    head = "[[pipelines.p.generate.models]]"
    return f'\n{head}\nname = "{name}"\nprovider = "{provider}"\nbase_url = "{base}"\n{keys}\n'


def first_time(fate: Fate, *texts: str):
    """A fate that befalls the prompts with these texts in their first batch, and no more."""
    left = set(texts)

    def fates(_: str, prompt: str) -> Fate:
        found = {text for text in left if text in prompt}
        left.difference_update(found)
        return fate if found else "succeeded"

    return fates


@VENDORS
@pytest.mark.parametrize(("keys", "expected"), [("", [7]), ("batch_requests = 3", [3, 3, 1])])
def test_every_prompt_gets_its_own_answer_from_one_batch(served, server, provider, keys, expected):
    store = generate(served(provider, prompts=7, keys=BATCH + keys))
    answers = store.table("generate", "answers").collect()
    joined = answers.join(store.table("filter", "prompts").collect(), on="prompt_id", validate="1:1", suffix="_asked")
    assert joined.height == 7
    assert (joined["text"] == "Answer to: " + joined["text_asked"]).all()
    assert sizes(server) == expected
    assert set(server.asked.values()) == {1}


def test_batches_give_the_same_answers_as_single_calls(served):
    online = generate(served()).table("generate", "answers").collect()
    (RunStore(served().workdir).workdir / "ledger.sqlite").unlink()
    batched = generate(served(keys=BATCH), again=True).table("generate", "answers").collect()
    assert batched.equals(online)


@VENDORS
def test_a_call_in_a_batch_costs_half(served, provider):
    pipeline = served(provider, keys=BATCH + "price = { input = 1.0, output = 2.0 }")
    generate(pipeline)
    with Ledger(pipeline.workdir / "ledger.sqlite") as ledger:
        assert ledger.spent_nano_usd("generate") == 5 * (6 * 1000 + 8 * 2000) // 2


def test_a_batch_factor_of_ones_own_is_used(served):
    pipeline = served(keys=BATCH + "price = { input = 1.0, output = 2.0, batch_factor = 0.25 }")
    generate(pipeline)
    with Ledger(pipeline.workdir / "ledger.sqlite") as ledger:
        assert ledger.spent_nano_usd("generate") == 5 * (6 * 1000 + 8 * 2000) // 4


@VENDORS
@pytest.mark.parametrize("fate", ["errored", "expired", "canceled"])
def test_what_a_batch_left_undone_goes_into_the_next(served, server, provider, fate):
    server.batch_fates = first_time(fate, "What is 1", "What is 3")
    store = generate(served(provider, keys=BATCH))
    assert store.published("generate").accounting.kept == 5
    assert sizes(server) == [5, 2]
    assert server.answered.total() == 5


@pytest.mark.parametrize(
    ("provider", "fate", "kind"), [("openai", "errored", "server_error"), ("anthropic", "canceled", "batch_canceled")]
)
def test_a_call_that_no_batch_does_is_a_failure_row_and_later_asked_anew(served, server, provider, fate, kind):
    server.batch_fates = lambda _, prompt: fate if "What is 2" in prompt else "succeeded"
    pipeline = served(provider, keys=BATCH + "max_attempts = 2")
    store = generate(pipeline)
    assert store.published("generate").failed_by == {kind: 1}
    assert store.table("generate", "failures").collect()["attempts"].to_list() == [2]
    assert sizes(server) == [5, 1]
    server.batch_fates = lambda *_: "succeeded"
    assert generate(pipeline, again=True).published("generate").accounting.kept == 5
    assert sizes(server) == [5, 1, 1]


@VENDORS
def test_an_invalid_request_in_a_batch_fails_at_once_with_the_servers_words(served, server, provider):
    server.batch_error_status = 400
    server.batch_fates = lambda _, prompt: "errored" if "What is 2" in prompt else "succeeded"
    failures = generate(served(provider, keys=BATCH)).table("generate", "failures").collect()
    assert failures["kind"].to_list() == ["refused_request"]
    assert "The request failed with status 400" in failures["detail"][0]
    assert sizes(server) == [5]


@pytest.mark.parametrize(
    ("provider", "end", "kind"),
    [
        ("openai", "expired", "batch_expired"),
        ("openai", "cancelled", "batch_cancelled"),
        ("anthropic", "expired", "batch_expired"),
        ("anthropic", "cancelled", "batch_canceled"),
    ],
)
def test_a_batch_that_ends_early_keeps_what_is_done(served, server, provider, end, kind):
    server.batch_ends = end  # after the first half of the calls
    store = generate(served(provider, prompts=4, keys=BATCH + "max_attempts = 3"))
    assert sizes(server) == [4, 2, 1]
    assert store.published("generate").accounting.kept == 3
    assert store.published("generate").failed_by == {kind: 1}
    assert set(server.answered.values()) == {1}


def test_a_batch_that_fails_as_a_whole_stops_the_model_with_its_words(served, server):
    server.batch_ends = "failed"
    pipeline = served(keys=BATCH)
    with pytest.raises(StageError, match=r"served: batch batch_0\w+ failed: The batch failed\."):
        generate(pipeline)
    server.batch_ends = "completed"
    assert generate(pipeline).published("generate").accounting.kept == 5
    assert server.answered.total() == 5


@VENDORS
def test_a_wrong_key_stops_the_batches(served, server, provider, monkeypatch):
    monkeypatch.setenv("TEST_KEY", FATAL_KEY)
    with pytest.raises(StageError, match="served: unauthorized: 401"):
        generate(served(provider, keys=BATCH + 'api_key_env = "TEST_KEY"'))
    assert not server.batches


def test_online_models_and_batches_of_both_vendors_work_side_by_side(served, server):
    more = model(server, "claude", "anthropic", BATCH) + model(server, "fast", "openai")
    store = generate(served(keys=BATCH + more, generate="answers_per_prompt = 3"))
    answers = store.table("generate", "answers").collect()
    assert Counter(answers["model"]) == {"served": 5, "claude": 5, "fast": 5}
    assert set(server.asked.values()) == {3}
    assert sizes(server) == [5, 5]


FALLBACK = "reported_as = '*'\nweight = 1000000\n"


def test_truncated_answers_of_a_batch_go_to_an_online_model(served, server):
    server.finish_reason = "length"
    server.before_answer = lambda: setattr(server, "finish_reason", "stop")  # single calls alone have this hook
    keys = FALLBACK + BATCH + model(server, "second", "anthropic")
    store = generate(served(keys=keys, generate="fallback = true"))
    assert store.published("generate").failed_by == {"truncated": 5}
    assert set(store.table("generate", "answers").collect()["model"]) == {"second"}
    assert set(server.asked.values()) == {2}


def test_truncated_answers_of_an_online_model_go_into_batches(served, server):
    server.inject = {"length": 1.0}  # single calls alone suffer it
    keys = FALLBACK + model(server, "second", "anthropic", 'mode = "batch"\nbatch_poll_s = 0.5')
    store = generate(served(keys=keys, generate="fallback = true"))
    assert store.published("generate").failed_by == {"truncated": 5}
    assert set(store.table("generate", "answers").collect()["model"]) == {"second"}
    assert set(server.asked.values()) == {2}
    assert sizes(server) == [5]


PRICE = "price = { input = 0, output = 1000000 }\nsampling = { max_tokens = 20 }\n"
"""A dollar a token: in a batch a call costs 4 USD for its 8 words, and 10 USD at most."""


def test_a_hard_budget_holds_for_batches_and_a_larger_one_goes_on(served, server):
    with pytest.raises(StageError, match="7 new replies are kept .* the budget of the stage generate is used up"):
        generate(served(prompts=12, keys=BATCH + PRICE, generate="budget_usd = 35"))
    assert sizes(server) == [3, 2, 1, 1]
    pipeline = served(prompts=12, keys=BATCH + PRICE, generate="budget_usd = 100")
    assert generate(pipeline).published("generate").accounting.kept == 12
    assert set(server.asked.values()) == {1}


@pytest.mark.parametrize("more", [BATCH, ""])
def test_a_budget_that_two_models_share_is_not_passed(served, server, more):
    keys = BATCH + PRICE + model(server, "second", "anthropic", more + PRICE)
    with pytest.raises(StageError, match="the budget of the stage generate is used up"):
        generate(served(prompts=12, keys=keys, generate="answers_per_prompt = 2\nbudget_usd = 60"))
    with Ledger(served().workdir / "ledger.sqlite") as ledger:
        assert 0 < ledger.spent_nano_usd("generate") <= 60 * 10**9


def test_the_ledger_lists_batches(served, server):
    pipeline = served(keys=BATCH + "batch_requests = 3")
    generate(pipeline)
    found = batches(pipeline.workdir / "ledger.sqlite")
    assert [(one["model"], one["requests"], one["state"]) for one in found] == [
        ("served", 3, "ended"),
        ("served", 2, "ended"),
    ]
    assert [one["remote_id"] for one in found] == list(server.batches)
    shown = CliRunner().invoke(app, ["ledger", "-c", str(pipeline.folder / "pipelines.toml")])
    assert all(batch_id in shown.output for batch_id in server.batches)
