"""From pairs and corrections to released rows: joined by id, split by cluster, filtered once more."""

import polars as pl
import pytest

from curate.identity import content_id
from curate.release.diff import compare
from curate.release.triples import join, judge, split
from schemas.tables import Corrections, Pairs


def pair(number: int, cluster: int | None = None) -> tuple:
    one = content_id("pair", number)
    group = content_id("cluster", number if cluster is None else cluster)
    return (one, one, group, f"question {number}", [], f"answer {number}", "m", "file", number, "MIT", None)


def pairs(*rows: tuple) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=Pairs.create_empty().schema, orient="row")


def corrections(*texts: tuple[int, str], annotator: str = "hand") -> pl.DataFrame:
    rows = [
        (
            content_id("correction", n, annotator),
            content_id("pair", n),
            annotator,
            "model",
            text,
            None,
            None,
            None,
            None,
            None,
        )
        for n, text in texts
    ]
    return pl.DataFrame(rows, schema=Corrections.create_empty().schema, orient="row")


def joined(pair_rows, correction_rows, shares=(0.1, 0.1)) -> pl.DataFrame:
    return join(pair_rows, correction_rows, "set", shares, 42)


def test_corrections_find_their_pair_in_any_order():
    rows = joined(pairs(pair(1), pair(2)), corrections((2, "two"), (1, "one")))
    assert rows.select("question", "correction").rows() == [("question 1", "one"), ("question 2", "two")]


def test_a_correction_equal_to_its_answer_is_kept_and_marked():
    rows = joined(pairs(pair(1), pair(2)), corrections((1, "answer 1"), (2, "better")))
    assert rows["is_identity"].to_list() == [True, False]
    assert judge(rows, 100).is_empty()


def test_a_pair_may_have_several_corrections():
    both = pl.concat([corrections((1, "a"), annotator="x"), corrections((1, "b"), annotator="y")])
    assert joined(pairs(pair(1)), both).height == 2


def test_rows_of_one_cluster_stand_in_one_split():
    rows = joined(
        pairs(*(pair(n, cluster=n % 50) for n in range(1000))),
        corrections(*((n, "x") for n in range(1000))),
        shares=(0.3, 0.3),
    )
    assert rows.group_by("cluster_id").agg(pl.col("split").n_unique())["split"].max() == 1
    assert rows["split"].n_unique() == 3


def test_splits_follow_their_shares():
    ids = pl.Series("cluster_id", [content_id("c", n) for n in range(20_000)])
    counts = dict(split(ids, "set", (0.05, 0.1), 1).value_counts().iter_rows())
    assert counts["validation"] / 20_000 == pytest.approx(0.05, abs=0.007)
    assert counts["test"] / 20_000 == pytest.approx(0.1, abs=0.009)


def test_a_row_keeps_its_split_when_others_come():
    few, many = ([content_id("c", n) for n in range(count)] for count in (100, 1000))
    assert split(pl.Series(few), "set", (0.1, 0.1), 1).equals(split(pl.Series(many), "set", (0.1, 0.1), 1).head(100))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x" * 101, "correction.characters"),
        (" QUESTION 1 ", "correction.echo"),
        ("<correction>better", "correction.leftover"),
    ],
)
def test_the_last_pair_filter_drops_replies_that_went_wrong(text, rule):
    rows = joined(pairs(pair(1), pair(2)), corrections((1, text), (2, "fine")))
    verdicts = judge(rows, 100)
    assert verdicts.select("row_id", "rule", "kept").rows() == [(content_id("correction", 1, "hand"), rule, False)]


def test_a_diff_tells_what_came_left_and_changed():
    old = joined(pairs(pair(1), pair(2), pair(3)), corrections((1, "one"), (2, "two"), (3, "three")))
    new = joined(pairs(pair(1), pair(2), pair(4)), corrections((1, "one"), (2, "TWO"), (4, "four")))
    counts, rows = compare(old.lazy(), new.lazy())
    assert (counts.added, counts.removed, counts.changed, counts.is_other_schema) == (1, 1, 1, False)
    assert rows.select("change", "correction", "correction_new").rows() == [
        ("added", None, "four"),
        ("changed", "two", "TWO"),
        ("removed", "three", None),
    ]


def test_equal_tables_have_no_diff():
    one = joined(pairs(pair(1)), corrections((1, "one")))
    counts, rows = compare(one.lazy(), one.lazy())
    assert counts.is_empty
    assert rows.is_empty()


def test_another_column_is_another_schema():
    one = joined(pairs(pair(1)), corrections((1, "one")))
    assert compare(one.lazy(), one.with_columns(new=1).lazy())[0].is_other_schema
