"""From a file of preferences to pairs: rejected answers are answers, and no model is asked what is answered already."""

from collections import Counter
from pathlib import Path

import pytest

from curate.identity import content_id
from curate.pipeline import dry_run
from curate.report import status
from curate.store.run import RunStore
from schemas.errors import StageError
from tests.conftest import lines, published_hashes
from tests.curate.stages.preferring import preferring, ran, table, trained

STAGES = ("filter", "generate", "dedup")
CLIMB = ("How do I climb a tall tree?", "Just jump.", "With a rope and a friend.")
FLY = (CLIMB[0], "I'm sorry, but I cannot help with that.", CLIMB[2])
SWIM = ("How do I swim in cold water?", "Stay in for hours.", "Only for some minutes.")
TIED = ("How do I walk on thin ice?", "Do not.", "Do not.")
SHORT = ("hm", "What do you mean?", "Yes?")
ASKED = ["What is a good name for a cat?", "Which tree is the tallest of all?"]
ANSWER = ("prompt_id", "model", "sample_index", "text", "is_refusal", "finish_reason", "settings_id", "request_id")


def prompt_id(text: str) -> str:
    return content_id("prompt", text, [])


def with_model(folder: Path, *prompts: str) -> str:
    """The lines of a recorded model that knows these prompts."""
    lines(folder / "answers.jsonl", [{"prompt": text, "model": "m", "answer": f"It is {text[:9]}"} for text in prompts])
    return '[[pipelines.p.generate.models]]\nname = "m"\nprovider = "recorded"\npath = "answers.jsonl"\n'


def normal(*prompts: str) -> dict:
    return {"path": "prompts.jsonl", "field": "text", "rows": [{"text": text} for text in prompts]}


def models_asked(pipeline) -> int:
    return sum(call["calls"] for call in status(pipeline)["calls"])


def test_preferences_alone_become_pairs_without_any_model(tmp_path):
    pipeline = preferring(tmp_path, trained("a.jsonl", CLIMB, SWIM, upstream_model="alpaca-7b"))
    ran(pipeline, *STAGES)
    settings = content_id("preference", "a.jsonl")
    assert table(pipeline, "generate", "answers", ANSWER) == [
        (prompt_id(text), "alpaca-7b", 0, answer, False, "stop", settings, None) for text, answer, _ in (CLIMB, SWIM)
    ]
    pairs = table(pipeline, "dedup", "pairs", ("question", "answer", "model", "source", "license"))
    assert sorted(pairs) == sorted((row[0], row[1], "alpaca-7b", "a.jsonl", "MIT") for row in (CLIMB, SWIM))
    rows = RunStore(pipeline.workdir).published("generate").accounting
    assert (rows.rows_in, rows.kept, rows.failed) == (2, 2, 0)
    assert dry_run(pipeline, "generate") == []


def test_every_pair_finds_its_correction_by_prompt_and_answer(tmp_path):
    pipeline = preferring(tmp_path, trained("a.jsonl", CLIMB, FLY, SWIM))
    ran(pipeline, *STAGES)
    store = RunStore(pipeline.workdir)
    pairs = store.table("dedup", "pairs").select("prompt_id", "question", "answer")
    corrected = pairs.join(store.table("import", "preferences"), on=["prompt_id", "answer"], validate="1:1").collect()
    assert sorted(corrected.select("question", "answer", "correction").rows()) == sorted([CLIMB, FLY, SWIM])


def test_only_prompts_without_preferences_are_sent_to_a_model(tmp_path):
    more = with_model(tmp_path, *ASKED, CLIMB[0], SWIM[0], TIED[0])
    pipeline = preferring(tmp_path, normal(*ASKED, SWIM[0]), trained("a.jsonl", CLIMB, SWIM, TIED), more=more)
    ran(pipeline, "filter")
    assert [(one.model, one.calls) for one in dry_run(pipeline, "generate")] == [("m", 3)]
    ran(pipeline, *STAGES)
    assert models_asked(pipeline) == 3
    answers = table(pipeline, "generate", "answers", ("prompt_id", "model"))
    expected = [(text, "m") for text in (*ASKED, TIED[0])] + [(text, "unknown") for text in (CLIMB[0], SWIM[0])]
    assert sorted(answers) == sorted((prompt_id(text), model) for text, model in expected)
    assert len(table(pipeline, "dedup", "pairs", ("pair_id",))) == 5


def test_rows_of_every_stage_add_up(tmp_path):
    more = with_model(tmp_path, ASKED[0]) + "[pipelines.p.generate]\nsamples_per_model = 2\n"
    rows = trained("a.jsonl", CLIMB, FLY, CLIMB, SWIM, TIED, SHORT)
    pipeline = preferring(tmp_path, normal(*ASKED), rows, more=more)
    ran(pipeline, *STAGES)
    stages = {stage["stage"]: stage["accounting"] for stage in status(pipeline)["stages"] if "accounting" in stage}
    for stage in stages.values():
        assert stage["rows_in"] == stage["kept"] + stage["dropped"] + stage["failed"] + stage["waiting"]
    assert stages["filter"]["dropped"] == 1
    # three prompts (two of them unknown to the recorded model) twice each, and three rejected answers
    assert (stages["generate"]["rows_in"], stages["generate"]["failed"]) == (3 * 2 + 3, 2 * 2)


def test_a_preference_whose_prompt_was_filtered_out_gives_no_answer(tmp_path):
    pipeline = preferring(tmp_path, trained("a.jsonl", SHORT, CLIMB))
    ran(pipeline, *STAGES)
    assert table(pipeline, "generate", "answers", ("text",)) == [(CLIMB[1],)]


def test_answers_of_one_model_to_one_prompt_are_counted_and_refusals_labelled(tmp_path):
    again = (CLIMB[0], CLIMB[1], "Use a ladder.")
    pipeline = preferring(tmp_path, trained("a.jsonl", CLIMB, FLY, again, SWIM))
    ran(pipeline, *STAGES)
    assert len(table(pipeline, "import", "preferences", ("correction",))) == 4
    found = table(pipeline, "generate", "answers", ("sample_index", "text", "is_refusal"))
    assert {row[0] for row in found[:2]} == {0, 1}
    assert {row[1:] for row in found} == {(CLIMB[1], False), (FLY[1], True), (SWIM[1], False)}


def test_ids_of_answers_depend_on_no_order_of_rows_or_files_and_on_no_other_row(tmp_path):
    found = []
    for number, sources in enumerate(
        [
            (trained("a.jsonl", CLIMB, FLY), trained("b.jsonl", CLIMB, SWIM)),
            (trained("b.jsonl", SWIM, CLIMB), trained("a.jsonl", FLY, CLIMB)),
            (trained("b.jsonl", SWIM, CLIMB), trained("a.jsonl", FLY, CLIMB, (CLIMB[0], "Climb it.", "No."))),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        pipeline = preferring(tmp_path / str(number), *sources)
        ran(pipeline, "filter", "generate")
        found.append(set(table(pipeline, "generate", "answers", ("answer_id", "prompt_id", "model", "text"))))
    assert found[0] == found[1] < found[2]
    assert len(found[0]) == 3


def test_models_that_rows_name_are_told_apart(tmp_path):
    completions = [
        {"response": CLIMB[1], "overall_score": 1},
        {"model": "gpt-4", "response": "Rope.", "overall_score": 9},
    ]
    rows = [
        {"instruction": CLIMB[0], "completions": [{"model": name, **completions[0]}, completions[1]]}
        for name in ("falcon-40b-instruct", "starchat")
    ]
    source = {"path": "raw.jsonl", "shape": "ultrafeedback", "preferences": True, "rows": rows}
    pipeline = preferring(tmp_path, source)
    ran(pipeline, *STAGES)
    assert RunStore(pipeline.workdir).published("import").tagged_by == {"import.same_preference": 1}
    assert table(pipeline, "generate", "answers", ("model",)) == [("falcon-40b-instruct",)]


def test_a_prompt_without_preference_and_without_a_model_fails_by_name(tmp_path):
    pipeline = preferring(tmp_path, trained("a.jsonl", CLIMB, TIED))
    ran(pipeline, "filter", "generate")
    manifest = RunStore(pipeline.workdir).published("generate")
    assert manifest.failed_by == {"no_model": 1}
    assert table(pipeline, "generate", "failures", ("row_id", "kind")) == [(prompt_id(TIED[0]), "no_model")]
    assert manifest.accounting.rows_in == 2


def test_normal_prompts_still_need_a_model(tmp_path):
    pipeline = preferring(tmp_path, normal(*ASKED), trained("a.jsonl", CLIMB))
    ran(pipeline, "filter")
    with pytest.raises(StageError, match="no model is configured to answer prompts"):
        ran(pipeline, "generate")


def test_preferences_of_many_shards_and_parts_are_all_answers_of_their_prompts(tmp_path):
    rows = [(f"How do I do thing {n % 20_200}?", f"answer {n}", f"correction {n}") for n in range(51_000)]
    more = with_model(tmp_path, *ASKED)
    pipeline = preferring(tmp_path, trained("a.jsonl", *rows), normal(*ASKED), more=more)
    ran(pipeline, "filter", "generate")
    store = RunStore(pipeline.workdir)
    assert len(store.shards("import", "preferences")) == 2
    assert len(store.shards("generate", "answers")) == 4
    answers = table(pipeline, "generate", "answers", ("prompt_id", "text", "model", "sample_index"))
    expected = {(prompt_id(text), answer) for text, answer, _ in rows}
    assert {row[:2] for row in answers if row[2] == "unknown"} == expected
    assert len(answers) == 51_000 + len(ASKED)
    assert Counter(row[3] for row in answers if row[2] == "unknown") == {0: 20_200, 1: 20_200, 2: 10_600}
    assert models_asked(pipeline) == len(ASKED)


def test_a_second_run_changes_nothing_and_another_rejected_answer_makes_generate_stale(tmp_path):
    pipeline = preferring(tmp_path, trained("a.jsonl", CLIMB, SWIM))
    assert ran(pipeline, *STAGES) == [True, True, True, True]
    before = published_hashes(pipeline.workdir)
    assert ran(pipeline, *STAGES) == [False, False, False, False]
    assert published_hashes(pipeline.workdir) == before
    path = tmp_path / "a.jsonl"
    path.write_text(path.read_text().replace("Stay in for hours.", "Stay in for days."))
    assert ran(pipeline, *STAGES) == [True, False, True, True]
    assert ("Stay in for days.",) in table(pipeline, "dedup", "pairs", ("answer",))


def test_a_run_without_preferences_has_the_key_it_always_had(tmp_path):
    pipeline = preferring(tmp_path, normal(*ASKED), more=with_model(tmp_path, *ASKED))
    ran(pipeline, "filter", "generate")
    assert set(RunStore(pipeline.workdir).published("generate").key) == {
        *("stage", "version", "prompts", "seed", "answers_per_prompt", "samples_per_model", "fallback", "models")
    }
