"""Writes short English questions, no two equal, none of which a default threshold drops."""

import json
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

ASKED = [
    "How do I plan",
    "What is the best way to start",
    "Who can help me with",
    "What should I know before",
    "Why is",
]
WHAT = ["a vegetable garden", "an evening course", "a long train ride", "a small library", "a family recipe book"]
WHERE = ["in a mountain village", "near the coast", "in a crowded city", "on a small island", "in a quiet suburb"]
WHEN = ["in early spring", "during the holidays", "after a rainy week", "before winter comes", "on a busy day"]


def questions() -> Iterator[str]:
    """Endlessly many, about 90 characters each."""
    number = 0
    while True:
        for asked, what, where, when in product(ASKED, WHAT, WHERE, WHEN):
            number += 1
            yield f"{asked} {what} {where} {when} for {number} people?"


def write_questions(path: Path, rows: int) -> None:
    """`rows` JSON lines with the field `prompt`."""
    with path.open("w", encoding="utf-8") as file:
        for text in islice(questions(), rows):
            file.write(json.dumps({"prompt": text}) + "\n")
