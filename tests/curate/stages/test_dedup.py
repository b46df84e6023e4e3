"""Dedup on a real embedding model: what falls, for which twin, and that the order of input does not matter."""

import json
from pathlib import Path

import pytest

from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from curate.store.run import RunStore
from schemas.errors import StageError
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
