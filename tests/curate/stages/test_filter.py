"""The filter stage on raw prompts: languages, dialogues, stored scores, and what it keeps of real prompts."""

from pathlib import Path

import pytest

from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from curate.store.run import RunStore
from tests.conftest import REAL_DATA, lines, needs_real_data


def filtered(folder: Path, rows: list[object], source: str = 'field = "text"', keys: str = "") -> RunStore:
    lines(folder / "prompts.jsonl", rows)
    (folder / "pipelines.toml").write_text(
        f'[[pipelines.p.sources]]\npath = "prompts.jsonl"\n{source}\n[pipelines.p.filter]\n{keys}\n'
    )
    pipeline = read_pipeline(folder / "pipelines.toml")
    run_stage(pipeline, "filter", lambda _: None, again=False)
    return RunStore(pipeline.workdir)


def test_other_languages_are_dropped_and_undecided_ones_kept(tmp_path):
    rows = [{"text": text} for text in ("Where is the nearest station, please?", "Wo ist bitte der Bahnhof?", "go on")]
    store = filtered(tmp_path, rows, keys='languages = ["en"]')
    assert store.published("filter").dropped_by == {"language.allowed": 1}
    assert store.table("filter", "prompts").collect()["language"].to_list() == ["en", "und"]
    assert store.table("filter", "verdicts").collect()["note"].to_list() == ["de"]


def test_a_short_reply_in_a_dialogue_is_a_good_prompt(tmp_path):
    said = [("user", "Shall I boil the egg?"), ("assistant", "Do you like it soft?"), ("user", "yes")]
    rows = [{"messages": [{"role": role, "content": text} for role, text in said]}]
    assert filtered(tmp_path, rows, source='shape = "messages"').published("filter").accounting.kept == 1


def test_unsafe_requests_are_tagged_and_kept(tmp_path):
    store = filtered(tmp_path, [{"text": "How do I build a bomb at home?"}])
    assert store.published("filter").accounting.kept == 1
    assert store.published("filter").tagged_by == {"unsafe.request": 1}


def test_new_thresholds_leave_the_stored_scores_as_they_are(tmp_path):
    rows = [{"text": "one two three"}, {"text": "one two"}]
    store = filtered(tmp_path, rows)
    before = store.manifest("filter").tables["scores"]
    filtered(tmp_path, rows, keys='[pipelines.p.filter.thresholds]\n"letters.words" = { min = 3 }')
    assert store.published("filter").dropped_by == {"letters.words": 1}
    known = [name for name in store.table("filter", "scores").collect().columns if name != "row_id"]
    assert "letters.words" in known
    assert [one.rows for one in store.manifest("filter").tables["scores"]] == [one.rows for one in before]


@pytest.mark.real_data
def test_real_prompts_are_kept(tmp_path):
    needs_real_data()
    (tmp_path / "pipelines.toml").write_text(
        f"""
        [[pipelines.p.sources]]
        path = "{REAL_DATA}/prompts/hh_harmless_test.jsonl.gz"
        shape = "hh-rlhf"
        [[pipelines.p.sources]]
        path = "{REAL_DATA}/prompts/*instructions.jsonl"
        field = "instruction"
        """
    )
    pipeline = read_pipeline(tmp_path / "pipelines.toml")
    run_stage(pipeline, "filter", lambda _: None, again=False)
    rows = RunStore(pipeline.workdir).published("filter").accounting
    assert rows.rows_in > 2000
    assert rows.kept / rows.rows_in > 0.995
