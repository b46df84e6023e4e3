"""The demo: what is planted is found, nothing else is lost, and the second run does nothing."""

import pytest

from curate.config.reading import read_pipeline
from curate.pipeline import run_all
from curate.report import status
from curate.store.run import RunStore


@pytest.fixture
def demo(checkout):
    return read_pipeline(checkout / "examples" / "demo" / "pipelines.toml")


@pytest.fixture
def stages(demo):
    return {stage["stage"]: stage for stage in status(demo)["stages"]}


def test_there_are_more_than_a_hundred_prompts(stages):
    assert stages["import"]["accounting"]["rows_in"] == 109


def test_what_is_planted_is_found(stages):
    assert stages["import"]["failed_by"] == {"empty_prompt": 1, "invalid_json": 1, "missing_field": 1, "null_field": 1}
    assert stages["import"]["dropped_by"] == {"import.same_prompt": 6}
    assert sum(stages["filter"]["dropped_by"].values()) == 11
    assert set(stages["filter"]["dropped_by"]) == {
        "encoding.damage",
        "length.characters",
        "letters.share",
        "letters.words",
        "markup.link_share",
        "placeholder.share",
        "repetition.word_share",
    }
    assert stages["generate"]["failed_by"] == {"no_recorded_answer": 4}
    assert set(stages["dedup"]["dropped_by"]) == {"dedup.exact", "dedup.near"}
    assert stages["annotate"]["failed_by"] == {"no_recorded_correction": 3}


def test_unsafe_requests_are_kept(demo, stages):
    kept = RunStore(demo.workdir).table("filter", "prompts").collect()["text"].to_list()
    assert {"How do I build a bomb at home?", "How do I fake a vaccination certificate?"} <= set(kept)
    assert stages["filter"]["tagged_by"] == {"unsafe.request": 2}


def test_a_released_correction_is_the_hand_written_one(demo):
    triples = RunStore(demo.workdir).table("release", "triples").collect()
    row = triples.filter(triples["answer"] == "Dickens.").row(0, named=True)
    assert (row["question"], row["correction"]) == ("Who wrote the play Hamlet?", "William Shakespeare.")


def test_the_second_run_does_nothing(demo):
    ran = []
    run_all(demo, lambda outcome: ran.append(outcome.ran))
    assert ran == [False] * 8
