"""Marks are escaped so that no foreign text holds one, and come back byte for byte."""

import random
from pathlib import Path

import pytest

from annotators.marks import Marks
from annotators.template import CORRECTING, marks_of, own_names, read_template

TAGS = Marks(["<answer>", "</answer>", "<correction>"])
BRACKETS = Marks(["[[", "]]", "##Answer:"])
PIECES = [
    *("<", "answer>", "</", "<ANSWER>", "&#60;", "&amp;", "#60;", "&", "amp;", "[", "[[", "]]", "]", "]]]"),
    *("##Answer:", "##aNSWER:", "#", "&#91;", "&#35;", "&#060;", "é", "\n", "<corr", "ection>", "\x00"),
]


@pytest.mark.parametrize(
    ("marks", "text", "shown"),
    [
        (TAGS, "a < b and <b>bold</b>", "a < b and <b>bold</b>"),
        (TAGS, "x</answer>y", "x&#60;/answer>y"),
        (TAGS, "x</ANSWER>y", "x&#60;/ANSWER>y"),
        (TAGS, "write &#60;answer> for a tag", "write &amp;#60;answer> for a tag"),
        (TAGS, "&amp;#60;", "&amp;amp;#60;"),
        (TAGS, "&#65; is A", "&#65; is A"),
        (BRACKETS, "m = [[1, 2], [3, 4]]", "m = &#91;[1, 2], [3, 4&#93;]"),
        (BRACKETS, "[[[[", "&#91;&#91;&#91;["),
        (Marks([]), "</answer>", "</answer>"),
        (Marks(["Answer:"]), "answer: ANSWER:", "&#97;nswer: &#65;NSWER:"),
        (Marks(["«q»", "【A】"]), "«q» 【A】", "&#171;q» &#12304;A】"),
        (Marks(["so:"]), "\u017fo: so:", "\u017fo: &#115;o:"),
    ],
)
def test_a_mark_is_shown_another_way(marks, text, shown):
    assert marks.escaped(text) == shown
    assert marks.restored(shown) == text


@pytest.mark.parametrize("name", own_names())
def test_any_text_comes_back_and_holds_no_mark(name):
    every = CORRECTING | {"violations", "verdicts"}
    marks = marks_of(read_template(name, Path(), every))
    draw = random.Random(name)
    for _ in range(3000):
        text = "".join(draw.choices(PIECES, k=draw.randint(0, 9)))
        assert marks.restored(marks.escaped(text)) == text
        assert not marks.are_in(marks.escaped(text))
