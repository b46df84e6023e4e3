"""The corrected file: the input's rows in their order with four columns more, whole or not at all."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from annotators.adjudication import COMPARED
from curate.correcting.journal import Journal, Line
from curate.correcting.rows import Row, Source, slices
from curate.store.atomic import replacing

if TYPE_CHECKING:
    import polars as pl


def publish(
    source: Source, journal: Journal, out: Path, types: "Mapping[str, pl.DataType] | None", scratch_folder: Path
) -> dict[str, Any]:
    """Write `out` and say what is in it. types: of the columns for a Parquet file, None for JSON lines."""
    counts: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    if types is None:
        with replacing(out) as scratch, scratch.open("wb") as file:
            for part in _joined(source, journal, counts, notes):
                file.write(b"".join(msgspec.json.encode(row) + b"\n" for row in part))
    else:
        _write_parquet(_joined(source, journal, counts, notes), out, types, scratch_folder)
    names = ("rows", "changed", "unchanged", "passes")
    return {**{name: counts[name] for name in names}, "passed_through": dict(sorted(notes.items()))}


def _joined(
    source: Source, journal: Journal, counts: Counter[str], notes: Counter[str]
) -> Iterator[list[dict[str, Any]]]:
    """Slices of rows with what came of them: a slice's lines stand together, in the order in which they were done."""
    lines = journal.lines()
    for part in slices(source):
        done = {line.row: line for line in islice(lines, len(part))}
        yield [_corrected(row, done[row.number]) for row in part]
        counts["rows"] += len(part)
        counts["passes"] += sum(line.passes for line in done.values())
        counts["changed"] += sum(line.correction is not None for line in done.values())
        counts["unchanged"] += sum(line.correction is None and line.note is None for line in done.values())
        notes.update(line.note for line in done.values() if line.note is not None)


def _corrected(row: Row, line: Line) -> dict[str, Any]:
    """edit_ratio: Levenshtein over the longer text, of the first 10,000 characters of each."""
    from rapidfuzz.distance import Levenshtein

    correction = row.answer if line.correction is None else line.correction
    ratio = Levenshtein.normalized_distance(row.answer[:COMPARED], correction[:COMPARED])
    changed = line.correction is not None
    return {**row.columns, "correction": correction, "changed": changed, "edit_ratio": ratio, "note": line.note}


def _write_parquet(
    parts: Iterator[list[dict[str, Any]]], out: Path, types: "Mapping[str, pl.DataType]", scratch_folder: Path
) -> None:
    import polars as pl

    added = {"correction": pl.String, "changed": pl.Boolean, "edit_ratio": pl.Float64, "note": pl.String}
    scratch_folder.mkdir(exist_ok=True)
    shards = []
    for number, part in enumerate(parts):
        shards.append(scratch_folder / f"{number:06}.parquet")
        pl.DataFrame(part, schema={**types, **added}).write_parquet(shards[-1])
    with replacing(out) as scratch:
        pl.scan_parquet(shards).sink_parquet(scratch, maintain_order=True)
