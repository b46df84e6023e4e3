"""Dedup on a real embedding model: what falls, for which twin, and that the order of input does not matter."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from curate.config.reading import read_pipeline
from curate.neighbors.kept import find_faiss
from curate.pipeline import run_stage
from curate.store import releases
from curate.store.run import RunStore
from schemas.errors import ReleaseError, SourceError, StageError
from tests.conftest import lines

SKY = "Why is the sky blue in the daytime?"


def deduplicated(folder: Path, rows: list[tuple[str, str]], keys: str = "") -> RunStore:
    """Pairs of (question, answer) through import, filter, generate and dedup; each question may occur once."""
    folder.mkdir(exist_ok=True)
    lines(folder / "prompts.jsonl", [{"text": question} for question, _ in rows])
    lines(folder / "answers.jsonl", [{"prompt": q, "model": "m", "answer": a} for q, a in rows])
    (folder / "pipelines.toml").write_text(
        f"""
        [[pipelines.p.sources]]
        path = "prompts.jsonl"
        field = "text"
        [[pipelines.p.generate.models]]
        name = "m"
        provider = "recorded"
        path = "answers.jsonl"
        [pipelines.p.dedup]
        {keys}
        """
    )
    pipeline = read_pipeline(folder / "pipelines.toml")
    for stage in ("filter", "generate", "dedup"):
        run_stage(pipeline, stage, lambda _: None, again=False)
    return RunStore(pipeline.workdir)


def rerun(store: RunStore, keys: str) -> RunStore:
    """Dedup once more, with other keys."""
    config = store.workdir.parent.parent / "pipelines.toml"
    text = config.read_text().split("[pipelines.p.dedup]")[0]
    config.write_text(f"{text}[pipelines.p.dedup]\n{keys}")
    run_stage(read_pipeline(config), "dedup", lambda _: None, again=True)
    return store


def dropped(store: RunStore) -> dict[str, int]:
    return store.published("dedup").dropped_by


def test_pairs_equal_but_for_case_width_and_white_space_fall(tmp_path):
    store = deduplicated(tmp_path, [(SKY, "Because of scattering."), (SKY.upper(), "because  of ｓcattering. ")])
    assert dropped(store) == {"dedup.exact": 1}


def test_the_same_answer_to_a_rephrased_question_falls_for_its_twin(tmp_path):
    rows = [
        (SKY, "Air scatters blue light the most."),
        ("Why is the sky blue during the day?", "Air scatters blue light most."),
    ]
    store = deduplicated(tmp_path, rows)
    assert dropped(store) == {"dedup.near": 1}
    verdict = store.table("dedup", "verdicts").collect().row(0, named=True)
    assert verdict["twin_id"] == store.table("dedup", "pairs").collect()["pair_id"].item()
    assert verdict["score"] >= verdict["threshold"] == 0.9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The tower is 300 metres tall.", "The tower is 330 metres tall."),
        ("You can drink this water.", "You can not drink this water."),
    ],
)
def test_answers_that_differ_in_a_number_or_a_negation_stay(tmp_path, one, other):
    rows = [
        ("How tall is the tower, and may I drink here?", one),
        ("How tall is the tower and may I drink here?", other),
    ]
    assert dropped(deduplicated(tmp_path, rows)) == {}


def test_the_same_answer_to_another_question_stays(tmp_path):
    rows = [(SKY, "I do not know that."), ("Who wrote the play Hamlet?", "I do not know that.")]
    assert dropped(deduplicated(tmp_path, rows)) == {}


def test_an_answer_that_repeats_its_question_is_no_pair(tmp_path):
    assert dropped(deduplicated(tmp_path, [(SKY, SKY.lower()), ("Who wrote Hamlet?", "Shakespeare.")])) == {
        "pair.echo": 1
    }


def test_the_order_of_input_does_not_matter(tmp_path):
    rows = [
        (f"How do I {verb} {thing}?", f"You {verb} {thing} slowly.")
        for verb in ("cook", "boil", "wash")
        for thing in ("rice", "the rice", "eggs")
    ]
    names = []
    for number, ordered in enumerate((rows, rows[::-1])):
        store = deduplicated(tmp_path / str(number), ordered)
        names.append(store.table("dedup", "pairs").drop("source", "source_row").collect().to_dicts())
    assert json.dumps(names[0]) == json.dumps(names[1])


def test_one_pair_alone_stays(tmp_path):
    assert deduplicated(tmp_path, [(SKY, "Scattering.")]).published("dedup").accounting.kept == 1


def test_no_pair_at_all_is_no_fault(tmp_path):
    store = deduplicated(tmp_path, [(SKY, SKY)])
    assert store.published("dedup").accounting.kept == 0
    assert store.table("dedup", "clusters").collect().is_empty()


def test_a_missing_model_is_told(tmp_path):
    with pytest.raises(StageError, match="no/such-model cannot be loaded"):
        deduplicated(tmp_path, [(SKY, "Scattering.")], keys='model = "no/such-model"')


def test_cuda_that_is_not_there_is_told(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA, so there is nothing to refuse")
    with pytest.raises(StageError, match="torch sees no CUDA device"):
        deduplicated(tmp_path, [(SKY, "Scattering.")], keys='device = "cuda"')


RICE = [
    (f"How do I {verb} {thing} {when}?", f"To {verb} {thing} {when} you take water, salt and {number} minutes of time.")
    for number, verb in enumerate(("cook", "boil", "wash", "store"), 5)
    for thing in ("rice", "brown rice", "eggs", "the eggs")
    for when in ("at home", "in my home", "at a camp")
]


def test_each_twin_stays_and_is_as_near_as_the_table_says(tmp_path):
    store = deduplicated(tmp_path, RICE)
    kept = set(store.table("dedup", "pairs").collect()["pair_id"])
    duplicates = store.table("dedup", "duplicates").collect()
    assert duplicates.height > 3
    assert set(duplicates["twin_id"]) <= kept
    assert not set(duplicates["row_id"]) & kept
    near = duplicates.filter(duplicates["rule"] == "dedup.near")
    assert near["question_similarity"].min() >= 0.95
    assert near["answer_similarity"].min() >= 0.9
    assert near["spelling"].min() >= 0.5
    assert set(near["embedding_model"]) == {"sentence-transformers/all-MiniLM-L6-v2"}


@pytest.mark.parametrize("keys", ['backend = "faiss"', "batch_tokens = 512", "cells_beyond = 10"])
def test_backend_and_batches_do_not_change_what_falls(tmp_path, keys):
    store = deduplicated(tmp_path, RICE)
    before = store.table("dedup", "duplicates").collect()
    after = rerun(store, keys).table("dedup", "duplicates").collect()
    assert after.drop("question_similarity", "answer_similarity").equals(
        before.drop("question_similarity", "answer_similarity")
    )


def test_of_a_pair_the_better_made_stays(tmp_path):
    rows = [(SKY.lower(), "air scatters blue light the most"), (SKY, "Air scatters blue light the most.")]
    store = deduplicated(tmp_path, rows)
    assert store.table("dedup", "pairs").collect()["question"].to_list() == [SKY]


def test_answers_that_differ_in_spelling_fall_by_their_letters(tmp_path):
    answer = "Sunlight meets the molecules of the air, which scatter blue light far more than red light."
    asked = f"{SKY} Please explain it to a child of ten years who likes long and careful answers."
    rows = [(asked, answer), (asked.replace("careful", "carefull"), answer.replace("molecules", "molecuels"))]
    store = deduplicated(tmp_path, rows)
    assert dropped(store) == {"dedup.lexical": 1}


def test_equal_answers_to_questions_that_differ_in_a_number_stay_and_are_told(tmp_path):
    rows = [(f"How many apples are left if I eat 3 of {count} apples today?", "Some are left.") for count in (5, 6)]
    store = deduplicated(tmp_path, rows)
    assert dropped(store) == {}
    misses = store.table("dedup", "near_misses").collect()
    assert misses["blocked_by"].to_list() == ["question_numbers"]
    assert store.table("dedup", "borderline").collect()["falls"].to_list() == [False]


def test_the_index_of_leading_questions_can_be_searched(tmp_path):
    import faiss

    from curate.embed.embedder import Embedder, EmbedSettings

    store = deduplicated(tmp_path, RICE)
    index = faiss.read_index(str(store.file("dedup", "questions.faiss")))
    leaders = store.table("dedup", "leaders").collect()
    assert index.ntotal == leaders.height
    question = store.table("filter", "prompts").collect().row(0, named=True)
    embedder = Embedder(EmbedSettings("sentence-transformers/all-MiniLM-L6-v2"), "cpu", 4096)
    _, numbers = index.search(embedder.encode([question["text"]]), 1)
    cluster = store.table("dedup", "clusters").collect().filter(prompt_id=question["prompt_id"])["cluster_id"].item()
    assert leaders["prompt_id"][int(numbers[0, 0])] == cluster


def test_a_second_run_embeds_only_what_is_new(tmp_path):
    store = deduplicated(tmp_path, RICE)
    folder = next((store.workdir / "vectors").iterdir())
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    rerun(store, "answer_similarity = 0.91")
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_what_is_near_to_an_evaluation_question_falls(tmp_path):
    lines(tmp_path / "evaluation.jsonl", [{"ask": "Who wrote Hamlet?"}, {"ask": "Why is the sky blue during the day?"}])
    rows = [(SKY, "Air scatters blue light the most."), ("How do I cook rice?", "In water.")]
    keys = '[[pipelines.p.dedup.evaluation]]\npath = "evaluation.jsonl"\nfield = "ask"'
    store = deduplicated(tmp_path, rows, keys)
    assert dropped(store) == {"dedup.evaluation": 1}
    verdict = store.table("dedup", "verdicts").collect().row(0, named=True)
    assert verdict["twin_id"] == "evaluation.jsonl:2"
    assert verdict["score"] >= 0.95


def test_an_evaluation_set_that_is_not_whole_is_refused(tmp_path):
    (tmp_path / "evaluation.jsonl").write_text('{"ask": "Who wrote Hamlet?"}\n{"ask": 3\n')
    keys = '[[pipelines.p.dedup.evaluation]]\npath = "evaluation.jsonl"\nfield = "ask"'
    with pytest.raises(SourceError, match=r"evaluation.jsonl:2: "):
        deduplicated(tmp_path, [(SKY, "Air scatters blue light the most.")], keys)


def test_pairs_of_an_earlier_release_stay_and_what_is_near_to_them_falls(finished, tmp_path):
    release = finished.workdir / "releases" / "1.0.0"
    told = releases.rows(release).collect().sort("pair_id")
    question, answer, cluster = told.select("question", "answer", "cluster_id").row(0)
    rows = [(question, f"{answer}!"), (SKY, "Air scatters blue light the most.")]
    store = deduplicated(tmp_path, rows, f'releases = ["{release}"]')
    assert dropped(store) == {"dedup.lexical": 1}
    duplicate = store.table("dedup", "duplicates").collect().row(0, named=True)
    assert duplicate["twin_is_released"]
    assert duplicate["twin_id"] in set(told["pair_id"])
    clusters = store.table("dedup", "clusters").collect()
    assert cluster in set(clusters["cluster_id"])
    assert store.table("dedup", "pairs").collect()["question"].to_list() == [SKY]


@pytest.mark.parametrize("content", ["[]", "{}", None])
def test_a_directory_that_is_no_release_is_refused(tmp_path, content):
    (tmp_path / "release").mkdir()
    if content is not None:
        (tmp_path / "release" / "manifest.json").write_text(content)
    with pytest.raises(ReleaseError, match="no release"):
        deduplicated(tmp_path, [(SKY, "Scattering.")], 'releases = ["release"]')


def test_a_release_whose_rows_were_changed_is_refused(finished, tmp_path):
    release = shutil.copytree(finished.workdir / "releases" / "1.0.0", tmp_path / "release")
    rows = pl.read_parquet(release / "data" / "train.parquet")
    rows.with_columns(answer=pl.lit("changed")).write_parquet(release / "data" / "train.parquet")
    with pytest.raises(ReleaseError, match="release is damaged: data/train.parquet"):
        deduplicated(tmp_path, [(SKY, "Scattering.")], 'releases = ["release"]')


def test_twins_of_copies_stay_where_the_copied_pair_falls_itself(tmp_path):
    rows = [
        (SKY, "Air scatters blue light the most."),
        ("Why is the sky blue during the day?", "air scatters blue light most"),
        ("why is the sky blue during the day?", "air scatters  blue light most"),
    ]
    store = deduplicated(tmp_path, rows)
    assert dropped(store) == {"dedup.near": 2}
    kept = store.table("dedup", "pairs").collect()["pair_id"].to_list()
    assert store.table("dedup", "verdicts").collect()["twin_id"].to_list() == [*kept, *kept]


def test_two_faiss_packages_at_once_are_refused(tmp_path, monkeypatch):
    for name in ("faiss_cpu", "faiss_gpu"):
        (tmp_path / f"{name}-1.15.1.dist-info").mkdir()
        (tmp_path / f"{name}-1.15.1.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.15.1\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StageError, match="faiss-cpu and faiss-gpu are both installed"):
        find_faiss()
