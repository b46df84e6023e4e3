"""Preference data go through the whole pipeline: rejected becomes the answer, chosen its correction."""

import polars as pl

from curate.config.reading import read_pipeline
from curate.pipeline import run_stage, survey
from curate.store.run import RunStore
from tests.conftest import lines
from tests.curate.stages.preferring import preferring, trained

ROWS = [
    ("How tall is the tower of Arden?", "It is 421 feet tall, I guess.", "It is 421 feet, or 128 metres, tall."),
    ("Who built the bridge at Birk?", "Nobody knows who built the bridge.", "The monks of Birk built it in 1340."),
    ("What does the museum in Corvo show?", "It shows old ships and ropes.", "It shows old ships, ropes and charts."),
    ("May dogs come into the library?", "No dog may ever enter there.", "Guide dogs may come in, others may not."),
]
RELEASE = "[pipelines.p.release]\nvalidation_share = 0.0\ntest_share = 0.0\n"


def triples(made):
    return RunStore(made.workdir).table("release", "triples").collect()


def test_chosen_is_released_as_the_correction_of_rejected(tmp_path):
    made = preferring(tmp_path, trained("pairs.jsonl", *ROWS, upstream_model="alpaca"), more=RELEASE)
    for stage in ("filter", "generate", "dedup", "annotate", "release"):
        run_stage(made, stage, lambda _: None, again=False)
    found = triples(made)
    assert set(found.select("question", "answer", "correction").iter_rows()) == set(ROWS)
    assert set(found.select("annotator", "annotator_kind", "upstream_model").iter_rows()) == {
        ("preference", "preference", "alpaca")
    }
    corrections = RunStore(made.workdir).table("annotate", "corrections").collect()
    assert set(corrections["task_id"]) == {f"pairs.jsonl:{row}" for row in range(1, 5)}
    accounting = RunStore(made.workdir).published("annotate").accounting
    assert (accounting.rows_in, accounting.kept) == (4, 4)


def test_only_other_pairs_go_to_annotators(tmp_path):
    plain = {
        "path": "plain.jsonl",
        "shape": "field",
        "field": "text",
        "rows": [{"text": "Where is the old mill of Dun?"}],
    }
    answer = "The old mill of Dun stands at the river."
    lines(tmp_path / "answers.jsonl", [{"prompt": "Where is the old mill of Dun?", "model": "m", "answer": answer}])
    lines(
        tmp_path / "corrections.jsonl",
        [{"question": "Where is the old mill of Dun?", "answer": answer, "correction": answer + " It is a museum."}],
    )
    more = """
        [[pipelines.p.generate.models]]
        name = "m"
        provider = "recorded"
        path = "answers.jsonl"
        [[pipelines.p.annotate.annotators]]
        name = "hand"
        kind = "recorded"
        path = "corrections.jsonl"
        """
    made = preferring(tmp_path, trained("pairs.jsonl", *ROWS), plain, more=RELEASE + more)
    for stage in ("filter", "generate", "dedup", "annotate", "release"):
        run_stage(made, stage, lambda _: None, again=False)
    assert dict(triples(made)["annotator"].value_counts().iter_rows()) == {"preference": 4, "hand": 1}


def test_two_chosen_answers_to_one_rejected_are_adjudicated(tmp_path):
    other = (ROWS[0][0], ROWS[0][1], "It is 128 metres tall.")
    made = preferring(tmp_path, trained("pairs.jsonl", *ROWS, other), more=RELEASE)
    for stage in ("filter", "generate", "dedup", "annotate", "release"):
        run_stage(made, stage, lambda _: None, again=False)
    published = RunStore(made.workdir).published("annotate")
    assert (published.accounting.kept, published.dropped_by) == (4, {"adjudication.vote": 1})
    assert RunStore(made.workdir).table("annotate", "candidates").collect().height == 5


def test_another_chosen_text_makes_annotate_stale(tmp_path):
    made = preferring(tmp_path, trained("pairs.jsonl", *ROWS), more=RELEASE)
    for stage in ("filter", "generate", "dedup", "annotate"):
        run_stage(made, stage, lambda _: None, again=False)
    changed = [*ROWS[:3], (*ROWS[3][:2], "Only guide dogs may come in.")]
    preferring(tmp_path, trained("pairs.jsonl", *changed), more=RELEASE)
    made = read_pipeline(tmp_path / "pipelines.toml")
    for stage in ("filter", "generate", "dedup"):
        run_stage(made, stage, lambda _: None, again=False)
    assert next(one.state for one in survey(made) if one.name == "annotate") == "stale"
    run_stage(made, "annotate", lambda _: None, again=False)
    texts = RunStore(made.workdir).table("annotate", "corrections").select(pl.col("text")).collect()["text"]
    assert "Only guide dogs may come in." in texts.to_list()


def test_a_critic_reads_pairs_of_preference_data_too(tmp_path, server):
    server.answer = lambda _: "<violations></violations>"
    critique = f'[pipelines.p.annotate.critique]\nprovider = "openai"\nbase_url = "{server.url}/v1"\n'
    made = preferring(tmp_path, trained("pairs.jsonl", *ROWS), more=RELEASE + critique)
    for stage in ("filter", "generate", "dedup", "annotate"):
        run_stage(made, stage, lambda _: None, again=False)
    assert server.asked.total() == 4
    assert RunStore(made.workdir).published("annotate").tagged_by == {"critique.clean": 4}


def test_gates_judge_what_was_chosen_too(tmp_path):
    faulty = [(*row[:2], f"Here is the corrected answer:\n\n{row[2]}") for row in ROWS[:2]]
    made = preferring(tmp_path, trained("pairs.jsonl", *faulty, *ROWS[2:]), more=RELEASE)
    run = []
    for stage in ("filter", "generate", "dedup", "annotate"):
        run_stage(made, stage, lambda outcome: run.append(outcome.name), again=False)
    assert RunStore(made.workdir).published("annotate").dropped_by == {"remark.editing": 2}
