"""Agreement on an overlap sample, against values worked out by hand and the textbook's."""

import polars as pl
import pytest

from annotators.agreement import alpha, by_pair, pairings, similarities


def candidates(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(pair, f"{pair}{name}", name, "old", text) for pair, name, text in rows],
        schema=["pair_id", "correction_id", "annotator", "answer", "correction"],
        orient="row",
    )


def test_two_annotators_of_one_pair_are_measured_once():
    rows = candidates(("p", "b", "olds"), ("p", "a", "old"), ("q", "a", "new"))
    (row,) = similarities(pairings(rows)).to_dicts()
    assert (row["one"], row["other"], row["one_changed"], row["other_changed"]) == ("a", "b", False, True)
    assert row["edit_similarity"] == 0.75


def test_agreement_on_changed_or_not_is_told_by_pair_of_annotators():
    rows = candidates(
        *(("p1", "a", "old"), ("p1", "b", "old"), ("p2", "a", "new"), ("p2", "b", "new")),
        *(("p3", "a", "new"), ("p3", "b", "old"), ("p3", "c", "new"), ("p4", "a", "new"), ("p4", "b", "newer")),
    )
    found = by_pair(similarities(pairings(rows)))
    assert found.select("one", "other", "pairs", "changed_agreement").rows() == [
        ("a", "b", 4, 0.75),
        ("a", "c", 1, 1.0),
        ("b", "c", 1, 0.0),
    ]
    # a and b: values 0 0 1 1 1 0 1 1; one disagreement: 1 - 7 * 2 / (2 * 3 * 5)
    assert found["changed_alpha"][0] == pytest.approx(1 - 7 * 2 / 30, abs=1e-6)
    assert found["changed_alpha"][1] is None


def test_nobody_in_common_is_an_empty_table():
    found = by_pair(similarities(pairings(candidates(("p", "a", "old"), ("q", "b", "new")))))
    assert found.height == 0
    assert found.columns == ["one", "other", "pairs", "changed_agreement", "changed_alpha", "edit_similarity"]


KRIPPENDORFF = {
    "A": [None, None, None, None, None, 3, 4, 1, 2, 1, 1, 3, 3, None, 3],
    "B": [1, None, 2, 1, 3, 3, 4, 3, None, None, None, None, None, None, None],
    "C": [None, None, 2, 1, 3, 4, 4, None, 2, 1, 1, 3, 3, None, 4],
}
"""The example of Wikipedia's article on Krippendorff's alpha: nominal 0.691, interval 0.811."""


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.691), ("interval", 0.811)])
def test_alpha_is_the_textbooks(level, value):
    rows = [
        (f"u{unit:02d}", rater, float(rating))
        for rater, ratings in KRIPPENDORFF.items()
        for unit, rating in enumerate(ratings)
        if rating is not None
    ]
    ratings = pl.DataFrame(rows, schema=["unit", "rater", "rating"], orient="row")
    assert alpha(ratings, level) == pytest.approx(value, abs=0.001)
    assert alpha(ratings.reverse(), level) == alpha(ratings, level)


def test_alpha_of_equal_ratings_is_not_defined():
    ratings = pl.DataFrame({"unit": ["u", "u"], "rater": ["a", "b"], "rating": [1.0, 1.0]})
    assert alpha(ratings, "nominal") is None
    assert alpha(ratings.head(1), "nominal") is None
    assert alpha(ratings.clear(), "nominal") is None
