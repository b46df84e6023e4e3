"""Answers while servers fail: only what is lost for good is a failure, and everything else is asked again."""

import socket
import sqlite3
from contextlib import closing

import pytest

from curate.pipeline import run_stage
from curate.store.run import RunStore
from schemas.errors import StageError
from tests.curate.stages.conftest import model
from tests.llm_server import FAULT_NAMES

FOR_GOOD = {
    "lone_surrogate": "malformed",
    "empty": "empty",
    "content_filter": "filtered",
    "length": "truncated",
    "other_model": "wrong_model",
}
"""Paid replies that are no answers, and the kind of their failure rows."""

ANSWERED_ALL_THE_SAME = {"nul", "duplicate_id", "refusal", "slow_drip"}
PASSING = [name for name in FAULT_NAMES if name not in {*FOR_GOOD, *ANSWERED_ALL_THE_SAME, "insufficient_quota"}]


def generate(pipeline, *, again=False):
    run_stage(pipeline, "generate", lambda _: None, again=again)
    return RunStore(pipeline.workdir)


def texts(store, stage_table, model_name):
    """Prompt text and the other columns of a table of generate, of one model."""
    import polars as pl

    prompts = store.table("filter", "prompts").collect().select("prompt_id", asked="text")
    table = store.table("generate", stage_table).collect()
    if stage_table == "failures":
        parts = pl.col("row_id").str.split(":")
        table = table.with_columns(prompt_id=parts.list.get(0), model=parts.list.get(1))
    return table.filter(model=model_name).join(prompts, on="prompt_id", validate="m:1")


def ledger(pipeline, query):
    with closing(sqlite3.connect(pipeline.workdir / "ledger.sqlite")) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def under(asking, server, second):
    """Runs 200 prompts through both protocols, each on a server of its own with one fault at 5 % of its prompts."""

    def run(fault, **keys):
        for number, one in enumerate((server, second)):
            one.inject, one.inject_once, one.seed, one.drip_s = {fault: 0.05}, True, number, 0.3
        keys = {"longest_wait_s": 0.2, **keys}
        pipeline = asking(
            model("o", server, "openai", **keys),
            model("a", second, "anthropic", **keys),
            generate={"answers_per_prompt": 2},
        )
        store = generate(pipeline)
        assert all(3 <= len(one.suffered) <= 25 for one in (server, second))
        accounting = store.published("generate").accounting
        assert (accounting.rows_in, accounting.kept + accounting.failed) == (400, 400)
        return store

    return run


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_costs_no_answer(under, server, second, fault):
    store = under(fault, **({"timeout_s": 1.5} if fault == "hang" else {}))
    assert store.published("generate").accounting.kept == 400
    assert not store.table("generate", "answers").collect()["is_refusal"].any()
    for one in (server, second):
        assert {prompt for prompt, count in one.asked.items() if count == 2} == set(one.suffered)
        assert set(one.asked.values()) == {1, 2}


@pytest.mark.parametrize("fault", FOR_GOOD)
def test_a_paid_reply_that_is_no_answer_is_a_failure_just_where_it_came(under, server, second, fault):
    store = under(fault)
    for name, one in (("o", server), ("a", second)):
        failures = texts(store, "failures", name)
        is_refusal = fault == "content_filter" and name == "a"  # that protocol knows one word for both
        assert set(failures["asked"]) == (set() if is_refusal else set(one.suffered))
        assert set(failures["kind"]) <= {FOR_GOOD[fault]}
        refused = texts(store, "answers", name).filter("is_refusal")["asked"]
        assert set(refused) == (set(one.suffered) if is_refusal else set())
        assert one.asked.total() == one.answered.total() == 200


@pytest.mark.parametrize("fault", sorted(ANSWERED_ALL_THE_SAME))
def test_an_odd_reply_is_an_answer(under, server, second, fault):
    store = under(fault)
    assert store.published("generate").accounting.kept == 400
    for name, one in (("o", server), ("a", second)):
        refused = texts(store, "answers", name).filter("is_refusal")["asked"]
        assert set(refused) == (set(one.suffered) if fault == "refusal" else set())
        assert one.asked.total() == 200


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_used_up_quota_stops_its_model_alone(asking, server, second, provider):
    server.inject = {"insufficient_quota": 0.05}
    pipeline = asking(model("poor", server, provider), model("rich", second), generate={"answers_per_prompt": 2})
    with pytest.raises(StageError, match="poor: no_quota: 429: .*You exceeded your current quota"):
        generate(pipeline)
    assert second.answered.total() == 200
    assert server.asked.total() < 200
    server.inject = {}
    assert generate(pipeline).published("generate").accounting.kept == 400
    assert second.asked.total() == 200


def test_all_faults_at_once_lose_nothing(asking, server, second):
    shares = {name: 0.03 for name in FAULT_NAMES if name not in {"insufficient_quota", "hang"}}
    for number, one in enumerate((server, second)):
        one.inject, one.inject_once, one.seed, one.drip_s = shares, True, number, 0.3
    keys = {"longest_wait_s": 0.2, "max_attempts": 8}
    pipeline = asking(
        model("o", server, **keys), model("a", second, "anthropic", **keys), generate={"answers_per_prompt": 2}
    )
    store = generate(pipeline)
    for name, one in (("o", server), ("a", second)):
        for_good = set(FOR_GOOD) - ({"content_filter"} if name == "a" else set())
        lost = {prompt for prompt, suffered in one.suffered.items() if set(suffered) & for_good}
        assert set(texts(store, "failures", name)["asked"]) == lost
        assert set(texts(store, "answers", name)["asked"]) == set(one.asked) - lost


def nobody():
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@pytest.mark.parametrize("death", ["refuses", "hangs"])
def test_a_dead_model_holds_no_other_up(asking, server, second, death):
    second.inject = {"hang": 1.0}
    dead = model("dead", second, max_attempts=1, timeout_s=1.5, max_in_flight=10)
    dead |= {"base_url": nobody(), "max_attempts": 4} if death == "refuses" else {}
    pipeline = asking(dead, model("well", server), prompts=100, generate={"answers_per_prompt": 2})
    with pytest.raises(StageError, match="dead: 10 calls in a row (failed|timed out); the last: (unreachable|timeout)"):
        generate(pipeline)
    assert server.answered.total() == 100
    ((last_well,),) = ledger(pipeline, "SELECT MAX(ended_at) FROM attempts WHERE name = 'well' AND outcome = 'reply'")
    ((first_dead,),) = ledger(pipeline, "SELECT MIN(failed_at) FROM failures")
    assert last_well < first_dead


def test_a_dead_model_of_the_same_limit_group_holds_no_other_up(asking, server):
    dead = model("dead", server, limit_group="g", max_attempts=2) | {"base_url": nobody()}
    pipeline = asking(dead, model("well", server, limit_group="g"), prompts=100, generate={"answers_per_prompt": 2})
    with pytest.raises(StageError, match="dead: 32 calls in a row failed"):
        generate(pipeline)
    assert server.answered.total() == 100
