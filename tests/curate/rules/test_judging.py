"""Scores and thresholds become verdicts; verdicts decide which rows stay."""

import polars as pl

from curate.config.table import Bounds
from curate.rules.judging import judge, kept, tag

SCORES = pl.DataFrame({"row_id": ["a", "b", "c"], "words": [1.0, 2.0, 9.0], "share": [0.5, 0.1, 0.9]})
BOUNDS = {"words": Bounds(min=2, max=8), "share": Bounds(min=0.2)}


def test_a_score_at_the_bound_passes_and_one_beyond_it_does_not():
    verdicts = judge(SCORES, {"words": Bounds(min=2, max=9)}, "filter")
    assert verdicts.select("row_id", "rule", "score", "threshold", "kept").rows() == [("a", "words", 1.0, 2.0, False)]


def test_a_row_gets_one_verdict_for_each_rule_that_it_breaks_in_the_order_of_rows():
    verdicts = judge(SCORES, BOUNDS, "filter")
    assert verdicts.select("row_id", "rule").rows() == [("a", "words"), ("b", "share"), ("c", "words")]


def test_tags_keep_their_row():
    verdicts = tag(SCORES.with_columns(unsafe=pl.Series([0.0, 2.0, 0.0])), ("unsafe",), "filter")
    assert verdicts.select("row_id", "kept", "score").rows() == [("b", True, 2.0)]
    assert kept(SCORES, "row_id", verdicts).height == 3


def test_rows_without_a_verdict_against_them_stay_in_their_order():
    verdicts = judge(SCORES, {"words": Bounds(max=8)}, "filter")
    assert kept(SCORES, "row_id", verdicts)["row_id"].to_list() == ["a", "b"]


def test_an_empty_table_has_no_verdicts():
    assert judge(SCORES.clear(), BOUNDS, "filter").is_empty()
    assert kept(SCORES.clear(), "row_id", judge(SCORES, BOUNDS, "filter")).is_empty()


def test_the_order_of_rows_changes_no_verdict():
    forward, backward = judge(SCORES, BOUNDS, "filter"), judge(SCORES.reverse(), BOUNDS, "filter")
    assert forward.sort("row_id").equals(backward.sort("row_id"))
