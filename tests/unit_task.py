"""A synthetic editing task that a tiny model can learn: put the asked unit, warn where it is risky, otherwise copy."""

import random
from dataclasses import dataclass

UNITS = {"metres": "tall", "feet": "tall", "kilograms": "heavy", "pounds": "heavy", "years": "old", "days": "old"}
PARTNER = {
    "metres": "feet",
    "feet": "metres",
    "kilograms": "pounds",
    "pounds": "kilograms",
    "years": "days",
    "days": "years",
}
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
NOTE = " Please keep a safe distance."


@dataclass(frozen=True)
class Row:
    row_id: str
    prompt: str
    answer: str
    correction: str

    @property
    def is_fix(self) -> bool:
        return self.answer != self.correction


def rows(count: int, names: list[str], seed: int) -> list[Row]:
    draw = random.Random(seed)
    made = []
    for number in range(count):
        unit, name, risky = draw.choice(list(UNITS)), draw.choice(names), draw.random() < 0.5
        quantity, is_right = draw.randint(10, 999), draw.random() < 1 / 3
        subject = f"the {'risky ' if risky else ''}{name}"
        said = unit if is_right else PARTNER[unit]
        note = NOTE if risky else ""
        answer = f" The {subject[4:]} is {quantity} {said} {UNITS[unit]}.{note if is_right else ''}"
        correction = f" The {subject[4:]} is {quantity} {unit} {UNITS[unit]}.{note}"
        prompt = f"Q: How {UNITS[unit]} is {subject} in {unit}?\nA:{answer}\nC:"
        made.append(Row(f"{number:032x}", prompt, answer, correction))
    return made


def two_lists_of_names(seed: int) -> tuple[list[str], list[str]]:
    """Names for training and for the test; none stands in both."""
    names = [one + other for one in SYLLABLES for other in SYLLABLES]
    random.Random(seed).shuffle(names)
    return names[:4000], names[4000:]
