"""The prompts of one raw file, whatever its format and shape."""

from collections.abc import Iterator
from pathlib import Path

from curate.sources.readers import Broken, rows
from curate.sources.shapes import RawPrompt, shape_of


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
