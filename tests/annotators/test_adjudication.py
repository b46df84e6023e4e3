"""Who wins among several corrections."""

import pytest

from annotators.adjudication import by_preference, by_vote

ANSWER = "The tower is 421 feet tall."
EDIT = "The tower is 128 metres tall."
NEAR = "The tower is 128 metres high."
FAR = "I do not know of such a tower, sorry."


@pytest.mark.parametrize(
    ("corrections", "winner"),
    [
        ([ANSWER, EDIT, NEAR], 1),  # two of three changed it
        ([ANSWER, ANSWER, EDIT], 0),
        ([ANSWER, EDIT], 1),  # a draw means that something changes
        ([FAR, EDIT, NEAR], 1),  # the most like the others
        ([EDIT, EDIT], 0),
    ],
)
def test_the_majority_says_whether_and_the_middle_says_what(corrections, winner):
    assert by_vote(ANSWER, corrections, [1.0] * len(corrections))[0] == winner


def test_a_draw_of_votes_goes_to_the_greater_weight():
    assert by_vote(ANSWER, [EDIT, FAR], [1.0, 2.0])[0] == 1
    assert by_vote(ANSWER, [FAR, EDIT], [2.0, 1.0])[0] == 0


def test_similarity_is_told_with_the_winner():
    assert by_vote(ANSWER, [EDIT, EDIT], [1.0, 1.0]) == (0, 1.0)


def test_the_judges_favourite_wins():
    preferred = {("a", "b"): -1.0, ("a", "c"): 0.5, ("b", "c"): 1.0}
    assert by_preference(["a", "b", "c"], preferred, [3.0, 1.0, 1.0]) == (1, 1.0)
    assert by_preference(["c", "b", "a"], preferred, [1.0, 1.0, 3.0]) == (1, 1.0)


def test_where_the_judge_says_nothing_the_weight_decides():
    assert by_preference(["a", "b"], {}, [1.0, 2.0]) == (1, 0.0)
