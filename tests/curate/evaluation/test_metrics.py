"""Measures of corrections, by hand-made cases."""

import pytest

from curate.evaluation.metrics import copy_measures, loss_per_token, prefers_correction, word_distance


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("a b c", "a b c", 0.0), ("a b c", "a x c", 1 / 3), ("", "", 0.0), ("a", "", 1.0), ("a b", "b a", 1.0)],
)
def test_words_are_counted_as_edits_of_the_longer_text(one, other, distance):
    assert word_distance(one, other) == pytest.approx(distance)


def test_a_model_that_only_copies_shows_as_one():
    found = copy_measures(["a b", "c d"], ["a b", "c e"], ["a b", "c d"])
    assert (found.copy_rate, found.exact_match) == (1.0, 0.5)
    assert found.distance_to_correction == found.copy_distance == 0.25
    assert found.distance_to_answer == 0.0


def test_no_rows_have_no_measures():
    assert copy_measures([], [], []).exact_match is None
    assert loss_per_token({}) is None
    assert prefers_correction({}, {}, []) is None


def test_long_rows_count_more_in_the_loss():
    assert loss_per_token({"short": (2.0, 1), "long": (3.0, 9)}) == 0.5


def test_preference_is_decided_per_token():
    corrections = {"a": (4.0, 8), "b": (9.0, 3)}
    copies = {"a": (3.0, 3), "b": (2.0, 1)}
    assert prefers_correction(corrections, copies, ["a", "b"]) == 0.5
