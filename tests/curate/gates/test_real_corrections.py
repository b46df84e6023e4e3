"""The default gates on the corrections of a real Aligner: what falls, and how many planted faults are found."""

import polars as pl
import pytest

from bench.form.faults import GATE_OF, planted, real_corrections, told_by_all_recipes
from curate.gates.bounds import default_bounds
from curate.gates.preparing import declines, prepared
from curate.gates.registry import all_gates, find_gates
from curate.gates.scoring import score
from curate.rules.judging import judge
from curate.rules.refusal import REFUSAL
from tests.conftest import REAL_DATA, needs_real_data

CONTEXT = told_by_all_recipes()
DROPPED = {"edit.kept": 11, "edit.share": 3, "ending.cut": 48, "size.ratio": 2}
"""Of 1,610, as docs/gates.md says; gates that are not named drop none."""
FOUND = {
    "empty": 1.0, "needless refusal": 0.79, "remark": 0.89, "mark": 1.0, "instruction": 1.0, "other language": 0.855,
    "cut": 0.195, "repeated": 0.82, "first words only": 0.715, "other script": 0.935, "other question": 0.855,
    "answered afresh": 0.05, "personal data": 0.905, "obeyed order": 0.80,
}  # fmt: skip
"""Share found by the gate that is meant, 0.01 to 0.02 below what docs/gates.md says."""
pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def real() -> pl.DataFrame:
    needs_real_data()
    return real_corrections()


@pytest.fixture(scope="module")
def scores(real: pl.DataFrame) -> pl.DataFrame:
    return score(real, all_gates(), CONTEXT)


def test_every_row_has_finite_scores_in_order(real, scores):
    assert scores["row_id"].to_list() == real["correction_id"].to_list()
    assert all(scores[name].is_finite().all() for name in all_gates())


@pytest.mark.parametrize("gate", all_gates())
def test_a_gate_drops_no_more_real_corrections_than_is_written_down(scores, gate):
    assert judge(scores, {gate: default_bounds()[gate]}, "annotate").height <= DROPPED.get(gate, 0)


def test_together_they_drop_at_most_4_percent_and_no_copy(real, scores):
    fallen = judge(scores, default_bounds(), "annotate")["row_id"].unique()
    assert 0 < len(fallen) <= 63
    rows = real.filter(pl.col("correction_id").is_in(fallen.to_list()))
    assert (rows["answer"] != rows["correction"]).all()


@pytest.mark.parametrize("kind", GATE_OF)
def test_planted_faults_are_found_at_the_rate_that_is_written_down(real, kind):
    gate = GATE_OF[kind]
    faulty = planted(kind, real, CONTEXT.instructions)
    found = judge(score(faulty, find_gates([gate]), CONTEXT), {gate: default_bounds()[gate]}, "annotate")
    assert found.height / faulty.height >= FOUND[kind]


def test_the_short_cut_to_refusals_finds_what_the_pattern_finds():
    needs_real_data()
    answers = pl.read_parquet(REAL_DATA / "answers" / "alpaca_eval_answers.parquet")["answer"]
    assert declines(answers).to_list() == [bool(REFUSAL.match(text)) for text in answers]
    assert declines(answers).sum() > 100


def test_few_real_rows_count_as_redirects(real):
    assert 0 < prepared(real)["is_redirect"].sum() < 0.02 * real.height
