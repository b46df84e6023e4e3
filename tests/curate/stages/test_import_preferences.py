"""Import of preferences: prompts with and without them, what is tagged, what fails, and that all rows are counted."""

import gzip
import json

import pytest

from curate.report import rows as shown
from curate.store.run import RunStore
from schemas.errors import SourceError, StoreError
from tests.conftest import REAL_DATA, needs_real_data, published_hashes
from tests.curate.stages.preferring import preferring, ran, table, trained

WHAT = ("answer", "correction", "upstream_model", "source", "source_row", "license")
CLIMB = ("How do I climb a tall tree?", "Just jump.", "With a rope and a friend.")
SWIM = ("How do I swim in cold water?", "Stay in for hours.", "Only for some minutes.")
TIED = ("How do I walk on thin ice?", "Do not.", "Do not.")


def verdicts(pipeline):
    return sorted(table(pipeline, "import", "verdicts", ("row_id", "rule", "kept")))


def test_a_preference_is_a_row_with_its_prompt_answer_correction_and_source(tmp_path):
    pipeline = preferring(tmp_path, trained("a.jsonl", CLIMB, TIED, SWIM, upstream_model="alpaca-7b"))
    ran(pipeline, "import")
    assert table(pipeline, "import", "preferences", WHAT) == [
        (*CLIMB[1:], "alpaca-7b", "a.jsonl", 1, "MIT"),
        (*SWIM[1:], "alpaca-7b", "a.jsonl", 3, "MIT"),
    ]
    ids = {row["prompt_id"]: row["question"] for row in shown(pipeline, "preferences", None, {}, None, changed=False)}
    assert sorted(ids.values()) == [CLIMB[0], SWIM[0]]
    assert verdicts(pipeline) == [("a.jsonl:2", "import.preference_tied", True)]


def test_rows_in_are_prompts_kept_dropped_or_failed_whatever_became_of_their_preferences(tmp_path):
    broken = {"prompt": "Who?", "rejected": None, "chosen": "I."}
    source = trained("a.jsonl", CLIMB, CLIMB, (CLIMB[0], "Fly.", CLIMB[2]), TIED, TIED)
    source["rows"] += [broken, "text", {}]
    pipeline = preferring(tmp_path, source)
    ran(pipeline, "import")
    manifest = RunStore(pipeline.workdir).published("import")
    rows = manifest.accounting
    assert (rows.rows_in, rows.kept, rows.dropped, rows.failed) == (8, 2, 3, 3)
    assert manifest.dropped_by == {"import.same_prompt": 3}
    assert manifest.tagged_by == {"import.preference_tied": 2, "import.same_preference": 1}
    assert manifest.failed_by == {"missing_field": 1, "null_field": 1, "wrong_shape": 1}
    assert ("a.jsonl:6", "null_field") in table(pipeline, "import", "failures", ("row_id", "kind"))
    assert table(pipeline, "import", "preferences", ("answer", "source_row")) == [("Just jump.", 1), ("Fly.", 3)]


def test_the_same_preference_in_another_file_is_tagged_with_the_first_one_s_id(tmp_path):
    pipeline = preferring(tmp_path, trained("a.jsonl", CLIMB), trained("b.jsonl", SWIM, CLIMB, upstream_model="other"))
    ran(pipeline, "import")
    first = table(pipeline, "import", "preferences", ("preference_id", "answer"))[0]
    tags = table(pipeline, "import", "verdicts", ("row_id", "rule", "kept", "twin_id"))
    assert first[1] == CLIMB[1]
    assert ("b.jsonl:2", "import.same_preference", True, first[0]) in tags
    assert len(table(pipeline, "import", "preferences", ("answer",))) == 2


def test_a_preference_that_occurred_in_an_earlier_shard_is_not_written_twice(tmp_path):
    rows = [(f"How do I do thing {n % 20_000}?", f"answer {n % 25_000}", f"fix {n % 7}") for n in range(50_000)]
    pipeline = preferring(tmp_path, trained("a.jsonl", *rows, rows[0], rows[1]))
    ran(pipeline, "import")
    store = RunStore(pipeline.workdir)
    assert len(store.shards("import", "preferences")) == 2
    assert len(table(pipeline, "import", "preferences", ("preference_id",))) == len(set(rows)) == 50_000
    repeats = store.table("import", "verdicts").filter(rule="import.same_preference").collect()
    assert repeats["row_id"].to_list() == ["a.jsonl:50001", "a.jsonl:50002"]


def test_the_order_of_files_changes_no_id(tmp_path):
    a, b = trained("a.jsonl", CLIMB, TIED), trained("b.jsonl", SWIM, CLIMB)
    found = []
    for number, sources in enumerate([(a, b), (b, a)]):
        (tmp_path / str(number)).mkdir()
        pipeline = preferring(tmp_path / str(number), *sources)
        ran(pipeline, "import")
        found.append(sorted(table(pipeline, "import", "preferences", ("preference_id", "prompt_id", "answer"))))
    assert found[0] == found[1]


def test_a_file_of_another_shape_is_named_with_its_first_row(tmp_path):
    source = {
        "path": "a.jsonl",
        "shape": "pku-saferlhf",
        "preferences": True,
        "rows": [{"prompt": "Why?", "chosen": "x"}],
    }
    with pytest.raises(
        SourceError, match=r'a.jsonl: none of its 1 rows fits shape = "pku-saferlhf"; row 1: no field "b'
    ):
        ran(preferring(tmp_path, source), "import")


def test_without_preferences_key_and_tables_are_as_they_were(tmp_path):
    pipeline = preferring(tmp_path, {**trained("a.jsonl", CLIMB), "preferences": False, "shape": "preference"})
    ran(pipeline, "import")
    manifest = RunStore(pipeline.workdir).published("import")
    assert set(manifest.tables) == {"prompts", "verdicts", "failures"}
    assert set(manifest.key) == {"stage", "version", "sources"}
    assert set(manifest.key["sources"][0]) == {"path", "shape", "field", "license", "files"}
    with pytest.raises(StoreError) as caught:
        shown(pipeline, "preferences", None, {}, None, changed=False)
    assert "preferences = true" in caught.value.do


def test_another_upstream_model_makes_import_stale_and_a_second_run_does_nothing(tmp_path):
    pipeline = preferring(tmp_path, trained("a.jsonl", CLIMB))
    assert ran(pipeline, "import", "import") == [True, False]
    before = published_hashes(pipeline.workdir)
    assert ran(preferring(tmp_path, trained("a.jsonl", CLIMB, upstream_model="m")), "import") == [True]
    assert ran(preferring(tmp_path, trained("a.jsonl", CLIMB)), "import") == [True]
    assert published_hashes(pipeline.workdir) == before


def last_turns(dialogue: str) -> list[str]:
    return dialogue.rsplit("\n\nAssistant:", 1)


@pytest.mark.real_data
def test_real_dialogues_give_a_preference_wherever_they_differ_in_their_last_answer_alone(tmp_path):
    needs_real_data()
    path = REAL_DATA / "prompts" / "hh_harmless_test.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        dialogues = [[last_turns(row[name]) for name in ("chosen", "rejected")] for row in map(json.loads, file)]
    expected = {
        (rejected[1].strip(), chosen[1].strip())
        for chosen, rejected in dialogues
        if chosen[0] == rejected[0] and chosen[1].strip() and rejected[1].strip()
    }
    (tmp_path / path.name).write_bytes(path.read_bytes())
    pipeline = preferring(tmp_path, {"path": path.name, "shape": "hh-rlhf", "preferences": True})
    ran(pipeline, "import")
    found = table(pipeline, "import", "preferences", ("answer", "correction"))
    assert len(dialogues) == 2312
    assert set(found) == expected
    assert len(found) == 2303
    manifest = RunStore(pipeline.workdir).published("import")
    assert manifest.tagged_by == {"import.preference_unclear": 9}
    assert (manifest.accounting.kept, manifest.accounting.dropped, manifest.accounting.failed) == (2310, 2, 0)
    plain = preferring(tmp_path, {"path": path.name, "shape": "hh-rlhf"})
    prompts = table(pipeline, "import", "prompts", ("prompt_id", "text", "source_row"))
    ran(plain, "import")
    assert table(plain, "import", "prompts", ("prompt_id", "text", "source_row")) == prompts
