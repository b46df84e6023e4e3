"""What two texts must agree in beside a cosine, and which of two is better made."""

import polars as pl
import pytest

from curate.neighbors.agreement import exchanged_words, form, negations, normal, numbers, words


def value(expression, text: str):
    return pl.DataFrame({"text": [text]}).select(expression(pl.col("text"))).item()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("It is 30 metres tall.", "It is 30 metres tall!", True),
        ("It is 30 metres tall.", "It is 31 metres tall.", False),
        ("From 1 to 2.", "From 2 to 1.", True),
        ("It costs 1,250.75 euros.", "It costs 1,250.70 euros.", False),
        ("2 and 2", "2 and", False),
        ("at -18 degrees", "at 18 degrees", False),
        ("the years 1990-1995", "the years 1990 1995", True),
        ("if a > b", "if a < b", False),
        ("it costs $5", "it costs €5", False),
        ("no numbers", "", True),
    ],
)
def test_numbers_are_compared_as_often_as_they_stand(one, other, same):
    assert (value(numbers, one) == value(numbers, other)) is same


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("You can take it.", 0),
        ("You cannot take it.", 1),
        ("You shouldn't, and you can’t.", 2),
        ("NO, never without a helmet", 3),
        ("A notable knot, nobly noted", 0),
        ("Das ist kein Problem und nicht neu", 2),
        ("", 0),
    ],
)
def test_negations_are_counted(text, count):
    assert value(negations, text) == count


def test_the_better_made_of_two_equal_texts_has_the_higher_form():
    clean = "Why is the sky blue in the daytime?"
    assert value(form, clean) == 1.0
    for worse in (clean.upper(), clean.lower(), f" {clean}", clean.replace(" ", "  "), clean[:-1], f"{clean}\ufffd"):
        assert value(form, worse) < 1.0
    assert 0.0 <= value(form, "") <= 1.0


def test_raised_digits_are_no_digits():
    assert value(normal, "It is 10² metres.") != value(normal, "It is 102 metres.")


def test_case_width_and_white_space_do_not_count():
    assert value(normal, " Ｔhe \n\n SKY ") == value(normal, "the sky")


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ("the tower is 300 metres tall", "the tower is 300 feet tall", 1),
        ("it is hot in lisbon", "it is cold in quebec", 2),
        ("it is hot", "sure it is very hot", 0),
        ("the molecules scatter light", "the molecuels scater light", 0),
        ("the molecules scatter light", "well the molecuels scatter red light", 0),
        ("two weeks, then three weeks more", "two weeks, then three months more", 1),
        ("increase the dose", "decrease the dose", 1),
        ("**boil** it, well", "boil it well", 0),
        ("from iran", "from iraq", 1),
        ("teh price", "the price", 0),
        ("5 mg of it", "5 kg of it", 1),
        ("", "anything", 0),
        ("", "", 0),
    ],
)
def test_exchanged_words_are_told_from_added_and_misspelt_ones(one, other, count):
    said = pl.DataFrame({"one": [one], "other": [other]}).select(words(pl.col("one")), words(pl.col("other")))
    assert exchanged_words(said["one"].item(), said["other"].item()) == count
    assert exchanged_words(said["other"].item(), said["one"].item()) == count
