"""The prompts of one raw file, whatever its format and shape, and the preferences of those that hold them."""

from collections.abc import Iterator
from pathlib import Path

from curate.sources.dialogues import RawPrompt
from curate.sources.preferences import Compared, compared
from curate.sources.readers import Broken, rows
from curate.sources.shapes import shape_of


def prompts(path: Path, name: str, shape: str, field: str | None) -> Iterator[tuple[int, RawPrompt | Broken]]:
    """Each prompt of a file, or why a row holds none, with its row number (from 1; of a JSON's leaves, their count)."""
    read = shape_of(shape, field)
    count = 0
    for row, value in rows(path, name):
        if isinstance(value, Broken):
            yield row, value
            continue
        for found in read(value):
            count += 1
            yield count if shape == "texts" else row, found


def preferences(path: Path, name: str, shape: str) -> Iterator[tuple[int, Compared | Broken]]:
    """Each prompt of a file with what came of its two answers, or why a row is broken, with its row number (from 1)."""
    for row, value in rows(path, name):
        found = value if isinstance(value, Broken) else compared(value, shape)
        if isinstance(found, Compared) and isinstance(found.outcome, Broken):
            yield row, found.outcome
        else:
            yield row, found
