"""The report of the annotate stage on the corrections of a real Aligner, against figures worked out without our code."""

import json

import polars as pl
import pytest

from curate.config.model import Pipeline
from curate.pipeline import run_stage
from curate.report import rows
from curate.store.run import RunStore
from tests.conftest import needs_real_data
from tests.real_corrections import pipeline_of, triples

UPSTREAM = ("claude-3-opus-20240229", "qwen1.5-72b-chat")
COPIES = {"claude-3-opus-20240229": 0.065, "qwen1.5-72b-chat": 0.123}
"""Share of copies that the notes on the data give; one of the second is a copy but for white space at its end."""
pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module", params=UPSTREAM)
def annotated(request, tmp_path_factory) -> tuple[str, Pipeline]:
    """All pairs of one upstream model, corrected by the recorded Aligner; no gate judges and nothing is merged."""
    needs_real_data()
    made = pipeline_of(triples(request.param), tmp_path_factory.mktemp("real"))
    for stage in ("filter", "generate", "dedup", "annotate"):
        run_stage(made, stage, lambda _: None, again=False)
    return request.param, made


def distance(one: str, other: str) -> int:
    """Levenshtein, by the textbook's table, row by row."""
    before = list(range(len(other) + 1))
    for row, letter in enumerate(one, start=1):
        now = [row]
        for column, opposite in enumerate(other, start=1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (letter != opposite)))
        before = now
    return before[-1]


def report(made: Pipeline) -> dict[str, float]:
    (row,) = [
        row for row in rows(made, "annotators", None, {}, None, changed=False) if row["annotator"] == "aligner-2b"
    ]
    return row


def pairs(made: Pipeline) -> list[tuple[str, str]]:
    """Answer and correction of each pair that came to the stage, joined here from the raw file."""
    here = RunStore(made.workdir).table("dedup", "pairs").select("question", "answer").collect().rows()
    raw = {(row["question"].strip(), row["answer"].strip()): row["correction"] for row in _raw(made)}
    return [(answer, raw[question.strip(), answer.strip()]) for question, answer in here]


def _raw(made: Pipeline) -> list[dict[str, str]]:
    return [json.loads(line) for line in (made.folder / "corrections.jsonl").read_text().splitlines()]


def test_nearly_all_pairs_come_to_the_stage(annotated):
    _, made = annotated
    assert len(pairs(made)) >= 795
    assert report(made)["corrections"] == len(pairs(made))


def test_copies_are_those_of_the_file(annotated):
    model, made = annotated
    whole = triples(model)
    same = sum(row["answer"].strip() == row["correction"].strip() for row in whole)
    assert same / len(whole) == pytest.approx(COPIES[model], abs=0.001)
    copies = sum(answer.strip() == correction.strip() for answer, correction in pairs(made))
    found = report(made)
    assert found["copies"] == copies
    assert found["copy_rate"] == pytest.approx(copies / len(pairs(made)), abs=1e-6)
    kept = RunStore(made.workdir).table("annotate", "corrections").collect()
    assert found["kept"] == kept.height


def test_length_ratio_is_that_of_the_file(annotated):
    _, made = annotated
    found = [len(correction) / len(answer) for answer, correction in pairs(made)]
    wanted = sum(found) / len(found)
    assert report(made)["length_ratio"] == pytest.approx(wanted, rel=1e-3)  # white space around corrections is cut


def test_edit_ratio_is_levenshteins(annotated):
    """By hand on the shorter texts, where the table is quick; the report's ratio of these is made by the same stage."""
    _, made = annotated
    store = RunStore(made.workdir)
    candidates = store.table("annotate", "candidates").collect()
    texts = store.table("dedup", "pairs").select("pair_id", "answer").collect()
    joined = candidates.join(texts, on="pair_id").select("answer", "text").rows()
    from curate.stages.annotate.measuring import counted

    short = [(answer, text) for answer, text in joined if len(answer) < 400 and len(text) < 400][:60]
    assert len(short) >= 20
    chosen = candidates.join(texts, on="pair_id").with_columns(pl.col("text").alias("correction"))
    chosen = chosen.filter(pl.struct("answer", "text").is_in([{"answer": a, "text": t} for a, t in short]))
    empty = chosen.clear()
    verdicts = pl.DataFrame(schema={"row_id": pl.String, "rule": pl.String, "kept": pl.Boolean})
    found = counted(chosen, empty, verdicts, empty)["edit_ratio"].sum()
    by_hand = [distance(a, t) / max(len(a), len(t)) for a, t in chosen.select("answer", "text").rows()]
    assert found == pytest.approx(sum(by_hand), abs=1e-9)
    assert 0.2 < report(made)["edit_ratio"] < 0.8
