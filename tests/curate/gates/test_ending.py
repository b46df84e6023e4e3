"""Where a correction stops in the middle, and the many right ways to end without a full stop."""

import pytest

ANSWER = "Boil the eggs in salted water for eight minutes. Then put them into cold water and peel them slowly by hand."
START = "Boil the eggs for eight minutes. "


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        (f"{START}Cool them.", 0),
        (f"{START}Cool them, and", 2),
        (f"{START}Cool them,", 2),
        (f"{START}Cool them in the", 2),
        (f"{START}Cool them (in cold", 2),
        (f"{START}Cool them – ", 2),
        (f"{START}Follow these steps:\n1. Cool them.\n2.", 2),
        (f"{START}Follow these steps:\n- Cool them.\n-", 2),
        (f"{START}Follow these steps:", 2),
        (f"{START}Then put them into cold water and pee", 2),
        (f"{START}Run this:\n```python\nboil(eggs", 2),
        (f"{START}Cool them under running water afterwards", 1),
        (f"{START}Cool them with a lot of tap wat", 1),
        (f"{START}Cool them 🥚", 0),
        (f"{START}Cool them: https://eggs.example/cold", 0),
        (f"{START}Run this:\n```python\nboil(eggs)\n```", 0),
        ("You need:\n- eggs\n- water with a pinch of salt", 0),
        ("| step | minutes |\n| boil | 8 |", 0),
        ("Eggs in the pot, the water is hot,\nwe wait for a while and sing,\nand then they are ready to eat", 0),
        (f"Dear Anna,\n{START}\n\nBest regards,\nTom", 0),
        ("Eight", 0),
        ("C++", 0),
        ("8 min", 0),
        ('She said: "Eight minutes."', 0),
        ("八分钟。", 0),
        ("", 0),
    ],
)
def test_how_surely_a_correction_is_cut(scored, correction, expected):
    assert scored("ending.cut", answer=ANSWER, correction=correction) == expected


@pytest.mark.parametrize(
    ("answer", "correction", "expected"),
    [
        ("Boil the eggs and", "Boil them for eight minutes, and", 0),
        ("Boil the eggs, cool them, peel them slowly", "Boil them for eight minutes in hot salted water", 0),
        ("Run ```boil(eggs)", "Run ```boil(eggs, 8)", 0),
        ("Run ```boil(eggs)", "Run ```boil(eggs)``` or ```fry(eggs)", 0),
        ("Run it", "Run ```boil(eggs, 8)", 2),
    ],
)
def test_an_answer_that_is_cut_itself_is_no_measure(scored, answer, correction, expected):
    assert scored("ending.cut", answer=answer, correction=correction) == expected
