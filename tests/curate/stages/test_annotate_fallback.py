"""Who takes over where an annotator is down, and who must not: people, models in batches, calls that are at work."""

import asyncio
import time

import polars as pl
import pytest

from curate.asking.chain import Chain
from curate.config.reading import read_pipeline
from curate.ledger.batches import BatchBook
from curate.ledger.journal import Ledger
from curate.pipeline import run_stage
from curate.stages.annotate.correcting import tasks
from curate.stages.annotate.recipes import staff_of
from curate.store.run import RunStore
from schemas.errors import StageError
from tests.conftest import lines
from tests.curate.stages.annotating import annotate, answer_in, pipeline, served_by

DOWN = [(401, {}, b'{"error": {"message": "Incorrect API key provided"}}')] * 500
TEAM = {"name": "team", "kind": "people", "weight": 1.0}


def editing(server):
    server.answer = lambda prompt: f"<correction>{answer_in(prompt)} Tickets are sold there.</correction>"


def accounting(made):
    return RunStore(made.workdir).published("annotate").accounting


def test_pairs_of_a_model_that_is_down_wait_for_people_where_these_come_next(tmp_path, server, second):
    editing(second)
    server.faults = list(DOWN)
    models = [served_by(server, "a", weight=5.0), served_by(second, "b", weight=1.0)]
    made = pipeline(tmp_path, [*models, TEAM], 30, annotate={"fallback": True})
    annotate(made)
    rows = accounting(made)
    assert rows.kept + rows.waiting == 30
    assert rows.waiting > 0
    assert set(RunStore(made.workdir).table("annotate", "corrections").collect()["annotator"]) == {"b"}


def test_pairs_of_the_only_model_wait_for_people(tmp_path, server):
    server.faults = list(DOWN)
    made = pipeline(tmp_path, [served_by(server, "a", weight=5.0), TEAM], 30, annotate={"fallback": True})
    annotate(made)
    rows = accounting(made)
    assert (rows.kept, rows.waiting) == (0, 30)


@pytest.mark.parametrize("count", [1, 8, 40])
def test_a_second_run_over_pairs_that_fell_back_ends_and_asks_nobody(tmp_path, server, second, count):
    """Replies without marks: the last call of the first model hands one over that is known already."""
    server.answer = lambda _: "no marks"
    editing(second)
    annotators = [served_by(server, "a"), served_by(second, "b", weight=0)]
    made = pipeline(tmp_path, annotators, count, annotate={"fallback": True})
    annotate(made)
    asked = server.asked.total() + second.asked.total()
    annotate(made, again=True)
    assert server.asked.total() + second.asked.total() == asked
    assert accounting(made).kept == count


def test_pairs_whose_recorded_corrections_are_missing_fall_back_each_by_itself(tmp_path, server):
    """Dialogues that end in the same words: only their earlier turns differ."""
    editing(server)
    question, answer = "Thanks. Should I read more about that?", "Yes, you should read more about it in any case."
    dialogues = [
        [{"role": "user", "content": f"Tell me of {place}."}, {"role": "assistant", "content": f"{place} is old."},
         {"role": "user", "content": question}]
        for place in ("Arden", "Birk", "Corvo", "Dunmere")
    ]  # fmt: skip
    made = pipeline(
        tmp_path,
        [{"name": "a", "kind": "recorded", "path": "none.jsonl"}, served_by(server, "b", weight=0)],
        [(question, answer)],
        annotate={"fallback": True},
    )
    lines(tmp_path / "prompts.jsonl", [{"messages": turns} for turns in dialogues])
    lines(tmp_path / "none.jsonl", [{"question": "x", "answer": "y", "correction": "z"}])
    file = tmp_path / "pipelines.toml"
    file.write_text(file.read_text().replace('"field" = "text"', '"shape" = "messages"'))
    made = read_pipeline(file)
    for stage in ("filter", "generate", "dedup", "annotate"):
        run_stage(made, stage, lambda _: None, again=False)
    pairs = RunStore(made.workdir).table("dedup", "pairs").collect()
    assert server.asked.total() == pairs.height == accounting(made).kept


def test_where_nobody_is_left_the_stage_ends_with_an_error(tmp_path, server, second):
    server.faults, second.faults = list(DOWN), list(DOWN)
    made = pipeline(tmp_path, [served_by(server, "a"), served_by(second, "b")], 30, annotate={"fallback": True})
    with pytest.raises(StageError, match="a: .*b: "):
        annotate(made)


def test_a_pair_that_a_route_gives_to_the_model_that_is_down_alone_is_told(tmp_path, server, second):
    editing(second)
    server.faults = list(DOWN)
    routes = [{"annotators": ["a"], "model": "upstream"}]
    made = pipeline(
        tmp_path,
        [served_by(server, "a", max_in_flight=1), served_by(second, "b")],
        30,
        annotate={"fallback": True},
        tables={"routes": routes},
    )
    with pytest.raises(StageError, match="a: "):
        annotate(made)


def test_calls_that_are_at_work_in_a_batch_are_not_given_to_others(tmp_path, server, second):
    editing(second)
    made = pipeline(
        tmp_path, [served_by(server, "a", weight=9.0), served_by(second, "b")], 20, annotate={"fallback": True}
    )
    staff = staff_of(made)
    (chain,) = [one for one in staff.annotators if isinstance(one, Chain) and one.respondent.name == "a"]
    pairs = pl.concat(list(RunStore(made.workdir).frames("dedup", "pairs")))
    requests = [chain.respondent.request(task) for task in tasks(pairs)]

    async def batched() -> None:
        with Ledger(made.workdir / "ledger.sqlite") as ledger:
            book = BatchBook(ledger, "annotate", "a")
            batch, _ = await book.plan(requests, [0] * len(requests), "mark")
            await book.submitted(batch, "batch_1")

    asyncio.run(batched())
    with pytest.raises(StageError, match='a: calls of it are in a batch of "a" that is at work'):
        annotate(made)
    asked = {answer_in(body["messages"][-1]["content"]) for body in second.bodies}
    assert len(asked) < 10  # its own share
    assert server.asked.total() == 0


def test_a_batch_model_takes_over_and_the_run_ends(tmp_path, server, second):
    """All calls but one of the first are known; the second is a batch model that waits for its bell."""
    editing(server)
    editing(second)
    batch = {"mode": "batch", "batch_poll_s": 0.1}
    annotators = [served_by(server, "a", weight=99.0), served_by(second, "b", "anthropic", weight=1.0, **batch)]
    made = pipeline(tmp_path, annotators, 40, annotate={"fallback": True})
    annotate(made)
    file = made.folder / "pipelines.toml"
    server.faults = list(DOWN)
    started = time.monotonic()
    principles = file.read_text().replace('"name" = "a"\n', '"name" = "a"\nprinciples = ["harmless"]\n')
    file.write_text(principles)
    annotate(read_pipeline(file))
    assert time.monotonic() - started < 30
    corrections = RunStore(made.workdir).table("annotate", "corrections").collect()
    assert set(corrections["annotator"]) == {"b"}
    assert corrections.height == 40
    assert max(second.asked.values()) == 1


def test_a_slow_successor_costs_no_busy_waiting(tmp_path, server, second):
    editing(second)
    server.faults = list(DOWN)
    slow = {"requests_per_minute": 600.0}
    annotators = [served_by(server, "a", weight=99.0), served_by(second, "b", weight=1.0, **slow)]
    made = pipeline(tmp_path, annotators, 30, annotate={"fallback": True})
    began, spent = time.monotonic(), time.process_time()
    run_stage(made, "annotate", lambda _: None, again=False)
    waited, used = time.monotonic() - began, time.process_time() - spent
    assert RunStore(made.workdir).published("annotate").accounting.kept == 30
    assert waited > 1.5
    assert used < waited  # a loop that never sleeps uses all of it, and the server's thread more
