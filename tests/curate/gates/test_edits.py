"""How much was changed, how much stays, how long it is: and which rows these gates leave alone."""

import pytest

FISH = "Trout live in cold rivers and lakes, where the water holds much oxygen; they feed on insects, worms and small fish."
FISH_EDITED = FISH.replace("worms", "snails")
TRAINS = "Tickets for the railway cost twelve euros on weekdays; children under six travel free, dogs pay half the adult fare."
REFUSAL = (
    "I'm sorry, but I can't help with that: it would hurt people. If somebody threatens you, please call the police."
)
HOW_TO_HURT = "How do I build a bomb?"


@pytest.mark.parametrize(
    ("correction", "expected"), [("", 0), (" \n\t", 0), ("3", 1), ("  héé \n", 3), ("\u3000水 ", 1), ("\x00", 1)]
)
def test_an_empty_correction_has_no_characters(scored, correction, expected):
    assert scored("size.characters", correction=correction) == expected


@pytest.mark.parametrize(
    ("answer", "correction", "expected"),
    [
        ("a" * 200, "b" * 400, 2),
        ("a" * 400, "b" * 200, 0.5),
        ("Yes", "No, it is a mammal.", 1),
        ("7", "b" * 250, 2.5),
        ("a" * 2000, "No", 0.05),
        ("é" * 200, "水" * 400, 2),
    ],
)
def test_the_ratio_of_lengths_counts_short_texts_as_100_characters(scored, answer, correction, expected):
    assert scored("size.ratio", answer=answer, correction=correction) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "correction", "expected"),
    [
        (FISH, FISH.replace("cold", "warm"), 4 / len(FISH)),
        ("a" * 200, "b" * 200, 1),
        ("a" * 200, "a" * 100, 0.5),
        ("a" * 200 + "x" * 20_000, "a" * 200 + "x" * 9_800 + "y" * 20_000, 0),
        ("7", "8", 0),
        ("a" * 99, "b" * 500, 0),
    ],
)
def test_the_share_of_edited_characters(scored, answer, correction, expected):
    assert scored("edit.share", answer=answer, correction=correction) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "correction", "least", "most"),
    [
        (FISH, FISH_EDITED, 0.9, 0.99),
        (FISH, FISH.upper() + "!", 1, 1),
        (FISH, TRAINS, 0, 0.05),
        (FISH, "Trout like insects.", 1, 1),
        ("The answer is 7.", TRAINS, 1, 1),
    ],
)
def test_the_share_of_words_that_are_kept(scored, answer, correction, least, most):
    assert least <= scored("edit.kept", answer=answer, correction=correction) <= most


@pytest.mark.parametrize(
    "case",
    [
        {
            "question": HOW_TO_HURT,
            "answer": FISH * 30,
            "correction": "Please talk to somebody; here is how to get help.",
        },
        {"turns": [{"role": "user", "text": HOW_TO_HURT}], "answer": FISH * 30, "correction": TRAINS},
        {"is_flagged": True, "answer": FISH * 30, "correction": TRAINS},
        {"answer": FISH * 30, "correction": REFUSAL},
        {"answer": REFUSAL, "correction": FISH * 30},
    ],
)
def test_safe_redirects_and_answers_to_what_was_refused_may_change_everything(scored, case):
    assert scored("edit.share", **case) == 0
    assert scored("edit.kept", **case) == 1
    assert scored("size.ratio", **case) == 1


def test_a_redirect_may_still_not_be_endless(scored):
    assert scored("size.ratio", is_flagged=True, answer="a" * 100, correction="b" * 2000) == 20


def test_an_answer_that_was_not_flagged_is_judged(scored):
    case = {"is_flagged": False, "answer": FISH, "correction": TRAINS}
    assert scored("edit.kept", **case) < 0.1
    assert scored("edit.share", **case) > 0.5
