"""The rows of a file that is to be corrected: checked once before any work, then read in slices."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.sources.files import format_of
from curate.sources.readers import Broken, rows
from schemas.errors import SourceError

if TYPE_CHECKING:
    import polars as pl

ADDED = ("correction", "changed", "edit_ratio", "note")
"""The columns that a corrected file has more."""

SLICE_ROWS = 1000

MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and the names of its columns that hold question and answer.

    slice_rows: rows that are held at once, and among which rows of like length are put together.
    """

    path: Path
    question: str = "question"
    answer: str = "answer"
    slice_rows: int = SLICE_ROWS


@dataclass(frozen=True, slots=True)
class Row:
    """One row by its place, counted from 0 over all rows; `columns` are all that it has."""

    number: int
    question: str
    answer: str
    columns: dict[str, Any]


def check(source: Source) -> int:
    """How many rows there are. Raises SourceError, which names the first rows that cannot be used."""
    if not source.path.is_file():
        raise SourceError(f"there is no file {source.path}", do="correct the path")
    count = faults = 0
    told: list[str] = []
    for number, value in rows(source.path, str(source.path)):
        count += 1
        if fault := _fault(source, value):
            faults += 1
            if len(told) < MOST_TOLD:
                told.append(f"row {number}: {fault}")
    if faults:
        more = f" (and {faults - len(told):,} more)" if faults > len(told) else ""
        raise SourceError(
            f"{source.path}: {'; '.join(told)}{more}",
            do="repair these rows, or name other columns with --question and --answer; nothing was written",
        )
    return count


def slices(source: Source) -> Iterator[list[Row]]:
    """Rows of a checked file, a slice at a time."""
    found = (
        Row(number, value[source.question], value[source.answer], value)
        for number, (_, value) in enumerate(rows(source.path, str(source.path)))
    )
    while part := list(islice(found, source.slice_rows)):
        yield part


def schema(source: Source) -> "dict[str, pl.DataType]":
    """The columns' types for a Parquet file. Raises SourceError where a column holds values of several types."""
    import polars as pl

    if format_of(str(source.path))[0] == ".parquet":
        return dict(pl.scan_parquet(source.path).collect_schema())
    known = pl.DataFrame()
    for part in slices(source):
        try:
            frame = pl.DataFrame([row.columns for row in part], infer_schema_length=None)
            known = pl.concat([known, frame.clear()], how="diagonal_relaxed")
        except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
            raise SourceError(
                f"{source.path}: rows {part[0].number + 1} to {part[-1].number + 1} make no table: {error}",
                do="write to a file that ends in .jsonl",
            ) from error
    return dict(known.schema)


def _fault(source: Source, value: Any) -> str:
    """What is wrong with a row, or nothing."""
    if isinstance(value, Broken):
        return value.detail
    if not isinstance(value, dict):
        return f"it is no object with columns, but of type {type(value).__name__}"
    for name in (source.question, source.answer):
        if name not in value:
            return f"it has no column {name} (it has {', '.join(map(str, list(value)[:10])) or 'none'})"
        if not isinstance(value[name], str):
            return f"{name} is no text, but of type {type(value[name]).__name__}"
        if not _is_unicode(value[name]):
            return f"{name} is no valid Unicode"
    taken = [name for name in ADDED if name in value]
    return f"it has a column {taken[0]} already" if taken else ""


def _is_unicode(text: str) -> bool:
    """Whether a text holds no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
