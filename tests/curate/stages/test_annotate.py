"""Corrections by two models over real sockets, both protocols: what is read, refused, asked again, paid and kept."""

import hashlib

import polars as pl
import pytest

from curate.config.reading import read_pipeline
from curate.ledger.accounts import sent_by_model
from curate.pipeline import run_all, survey
from curate.store.run import RunStore
from schemas.errors import StageError
from tests.conftest import published_hashes
from tests.curate.stages.annotating import annotate, answer_in, pipeline, served_by
from tests.curate.stages.killing import Killer

FORMS = {"editor": "<correction>\n{}\n</correction>", "bracketed": "##Corrected answer:\n[[{}]]"}
REFUSAL = "I'm sorry, but I can't help with that request."


def edited(answer: str) -> str:
    return answer.replace("Visitors like", "Many visitors like")


def table(made, name):
    return RunStore(made.workdir).table("annotate", name).collect()


def replies(server, template="editor", text=edited):
    server.answer = lambda prompt: FORMS[template].format(text(answer_in(prompt)))


def kind_of(answer: str) -> str:
    """What becomes of an answer, by its text alone: the same in every run."""
    return ("edit", "copy", "edit", "mute", "late", "refusal")[hashlib.sha256(answer.encode()).digest()[0] % 6]


def moody(server, template):
    """Edits, copies, replies without marks once or always, refusals."""

    def reply(prompt: str) -> str:
        answer = answer_in(prompt)
        kind = kind_of(answer)
        if kind == "refusal":
            return REFUSAL
        if kind == "mute" or (kind == "late" and "earlier reply" not in prompt):
            return "Here is the better answer: " + answer
        return FORMS[template].format(answer if kind == "copy" else edited(answer))

    server.answer = reply


@pytest.fixture
def two(tmp_path, server, second):
    """Makes a pipeline with an editor behind OpenAI's and a bracketed one behind Anthropic's protocol."""

    def make(name="run", pairs=60, keys=None, first=None, **more):
        moody(server, "editor")
        moody(second, "bracketed")
        keys = {"max_in_flight": 4} | (keys or {})
        annotators = [
            served_by(server, "gpt-4", weight=2.0, **keys, **(first or {})),
            served_by(second, "llama2-70b", "anthropic", template="bracketed", weight=1.0, **keys),
        ]
        (tmp_path / name).mkdir()
        return pipeline(tmp_path / name, annotators, pairs, **more)

    return make


def test_a_correction_is_what_stands_between_the_marks(tmp_path, server):
    replies(server)
    made = pipeline(tmp_path, [served_by(server, "gpt-4")])
    annotate(made)
    texts = table(made, "corrections")["text"]
    assert texts.len() == 8
    assert texts.str.contains("Many visitors like").all()


def test_a_copy_is_kept_as_the_answer_itself(tmp_path, server):
    replies(server, text=lambda answer: f" {answer}\n")
    made = pipeline(tmp_path, [served_by(server, "gpt-4")])
    annotate(made)
    pairs = RunStore(made.workdir).table("dedup", "pairs").collect()
    joined = table(made, "corrections").join(pairs, on="pair_id", validate="1:1")
    assert joined.height == 8
    assert (joined["text"] == joined["answer"]).all()


def test_a_structured_correction_is_asked_for_by_a_schema_in_both_protocols(tmp_path, server, second):
    server.answer = second.answer = lambda _: '{"unchanged": true, "correction": ""}'
    told = {"template": "structured"}
    made = pipeline(tmp_path, [served_by(server, "o", **told), served_by(second, "a", "anthropic", **told)])
    annotate(made)
    assert table(made, "corrections").height == 8
    held = server.bodies[0]["response_format"]["json_schema"]
    assert held["strict"] is True
    assert held["schema"] == second.bodies[0]["output_config"]["format"]["schema"]
    assert held["schema"]["required"] == ["unchanged", "correction"]


def test_every_pair_ends_as_it_should_and_the_sums_hold(two, server, second):
    made = two()
    annotate(made)
    accounting = RunStore(made.workdir).published("annotate").accounting
    pairs = RunStore(made.workdir).table("dedup", "pairs").collect()
    kinds = pairs["answer"].map_elements(kind_of, return_dtype=pl.String).value_counts()
    count = dict(kinds.iter_rows())
    assert accounting.unit == "task"
    assert accounting.rows_in == pairs.height == 60
    assert accounting.kept == count["edit"] + count["copy"] + count["late"]
    assert accounting.failed == count["mute"] + count["refusal"]
    failed = RunStore(made.workdir).published("annotate").failed_by
    assert failed == {"refused": count["refusal"], "unmarked_correction": count["mute"]}
    asked = count["edit"] + count["copy"] + 2 * count["late"] + 3 * count["mute"] + count["refusal"]
    assert server.asked.total() + second.asked.total() == asked
    assert server.asked.total() > second.asked.total() > 0


def test_a_failure_says_how_often_was_asked_and_what_came(two):
    made = two()
    annotate(made)
    failures = table(made, "failures")
    mute = failures.filter(pl.col("kind") == "unmarked_correction")
    assert (mute["attempts"] == 3).all()
    assert mute["detail"].str.contains("Here is the better answer").all()
    refused = failures.filter(pl.col("kind") == "refused")
    assert (refused["attempts"] == 1).all()
    assert refused["detail"].str.contains("I can't help").all()


def test_a_correction_tells_who_was_told_what(two):
    made = two()
    annotate(made)
    recipes = table(made, "recipes")
    corrections = table(made, "corrections")
    names = corrections.join(recipes, left_on="template_id", right_on="recipe_id", how="inner", validate="m:1")
    assert set(names.select("annotator", "name").iter_rows()) == {("gpt-4", "editor"), ("llama2-70b", "bracketed")}
    words = corrections.join(recipes, left_on="principles_id", right_on="recipe_id", how="inner", validate="m:1")
    assert words.height == corrections.height
    assert set(words["name"]) == {"helpful 2, harmless 2, honest 2"}


def test_kill_9_costs_what_was_in_flight_and_changes_no_byte(two, server, second):
    results = []
    for name, kills in (("undisturbed", 0), ("killed", 6)):
        made = two(name)
        for one in (server, second):
            one.asked.clear()
        killer = Killer("annotate")
        server.before_answer = second.before_answer = killer
        for kill in range(kills):
            killer.kill(made, after=5 + 3 * kill)
        annotate(made)
        results.append((published_hashes(made.workdir), server.asked.total() + second.asked.total()))
    assert results[0][0] == results[1][0]
    assert results[1][1] - results[0][1] <= 6 * 2 * 4


PRICED = {"price": {"input": 10.0, "output": 30.0}, "sampling": {"max_tokens": 200}}


def test_a_used_up_budget_stops_the_stage_and_a_larger_one_goes_on(two, server, second):
    made = two(keys=PRICED, annotate={"budget_usd": 0.08})
    with pytest.raises(StageError, match="budget of the stage annotate is used up"):
        annotate(made)
    assert RunStore(made.workdir).manifest("annotate") is None
    spent = sum(one["sent"] for one in sent_by_model(made.workdir / "ledger.sqlite") if one["stage"] == "annotate")
    assert 0 < spent < 60
    file = made.folder / "pipelines.toml"
    file.write_text(file.read_text().replace("0.08", "80.0"))
    annotate(read_pipeline(file))
    assert max(server.asked.values()) == max(second.asked.values()) == 2  # a second reminder is sent word for word
    assert {prompt for prompt, times in server.asked.items() if times == 2} == {
        prompt for prompt in server.asked if "earlier reply" in prompt and kind_of(answer_in(prompt)) == "mute"
    }


def test_an_annotator_over_its_budget_leaves_its_pairs_to_the_next(two):
    made = two(annotate={"fallback": True}, first=PRICED | {"budget_usd": 0.065})
    annotate(made)
    corrections = table(made, "corrections")
    assert corrections["pair_id"].n_unique() == corrections.height
    by = dict(corrections["annotator"].value_counts().iter_rows())
    assert by["llama2-70b"] > by["gpt-4"] > 0
    not_asked = table(made, "failures").filter(pl.col("kind") == "not_asked")
    assert not_asked.height > 0
    assert not_asked["row_id"].str.ends_with(":gpt-4").all()
    spent = sum(one["replies"] for one in sent_by_model(made.workdir / "ledger.sqlite") if one["model"] == "gpt-4")
    assert spent < 40


def test_an_annotator_that_is_down_leaves_its_pairs_to_the_next(two, server):
    made = two(annotate={"fallback": True})
    server.faults = [(401, {}, b'{"error": {"message": "Incorrect API key provided"}}')] * 500
    annotate(made)
    corrections = table(made, "corrections")
    assert set(corrections["annotator"]) == {"llama2-70b"}
    kinds = (
        RunStore(made.workdir).table("dedup", "pairs").collect()["answer"].map_elements(kind_of, return_dtype=pl.String)
    )
    assert corrections.height == kinds.is_in(["edit", "copy", "late"]).sum()


def test_without_a_fallback_an_annotator_that_is_down_stops_the_stage(two, server):
    made = two()
    server.faults = [(401, {}, b'{"error": {"message": "Incorrect API key provided"}}')] * 500
    with pytest.raises(StageError, match="gpt-4"):
        annotate(made)


def test_pairs_for_people_wait_and_are_listed(tmp_path, server):
    replies(server)
    made = pipeline(tmp_path, [served_by(server, "gpt-4"), {"name": "team", "kind": "people", "weight": 2.0}], 20)
    ran = []
    assert not run_all(made, lambda outcome: ran.append(outcome.name))
    assert ran[-1] == "annotate"
    accounting = RunStore(made.workdir).published("annotate").accounting
    waiting = table(made, "waiting")
    assert waiting.height == accounting.waiting > 0
    assert accounting.kept + accounting.waiting == 20
    assert set(waiting.select("annotator", "reason").iter_rows()) == {("team", "correct")}


def test_a_new_principle_asks_anew_and_a_new_bound_does_not(two, server, second):
    made = two()
    annotate(made)
    asked = server.asked.total() + second.asked.total()
    file = made.folder / "pipelines.toml"
    whole = file.read_text()
    file.write_text(whole.replace("[pipelines.p.annotate]\n", "[pipelines.p.annotate]\nmax_copy_share = 0.0\n"))
    annotate(read_pipeline(file))
    assert RunStore(made.workdir).published("annotate").dropped_by["copies.share"] > 0
    assert server.asked.total() + second.asked.total() == asked
    file.write_text(whole.replace('"name" = "gpt-4"\n', '"name" = "gpt-4"\nprinciples = ["harmless"]\n'))
    changed = read_pipeline(file)
    assert next(one.state for one in survey(changed) if one.name == "annotate") == "stale"
    annotate(changed)
    assert server.asked.total() > asked
