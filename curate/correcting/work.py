"""Corrects a file: rows are written down as they are done, so that a killed run goes on; the result comes whole."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from curate.correcting.journal import Journal, Line, begin, end, folder_of, is_begun
from curate.correcting.result import publish
from curate.correcting.rows import Row, Source, check, schema, slices
from curate.identity import file_hash
from curate.progress import Progress
from curate.sources.files import format_of
from curate.store.atomic import replacing
from curate.store.lock import writer_lock
from schemas.errors import UsageError

FORMAT = 1

Writer = Callable[[Sequence[Row]], Iterator[list[Line]]]
"""Gives a line for each row, in any order, some at a time, as they are done."""


@dataclass(frozen=True)
class Job:
    """What is to be corrected, and where to. settings: all that decides what is written, as plain values.

    writer: makes the writer, which may load a model; not called where no row is left to write.
    """

    source: Source
    out: Path
    settings: Mapping[str, Any]
    writer: Callable[[], Writer]


def correct(job: Job, progress: Progress, *, again: bool) -> dict[str, Any]:
    """Write `job.out` and its manifest, and say what came of the rows. A second run finds them and does nothing.

    Raises SourceError at a row that cannot be used, StageError where another work was begun, UsageError.
    """
    format_, compression = format_of(str(job.out))
    if job.out.resolve() == job.source.path.resolve():
        raise UsageError(f"{job.out} is the input", do="name another file for the result")
    if format_ not in (".jsonl", ".parquet") or compression:
        raise UsageError(f"{job.out}: cannot write this format", do="name a file that ends in .jsonl or .parquet")
    started = time.monotonic()
    count = check(job.source)
    key = {
        "format": FORMAT,
        "input": file_hash(job.source.path),
        "question": job.source.question,
        "answer": job.source.answer,
        **job.settings,
    }
    types = schema(job.source) if format_ == ".parquet" else None
    folder = folder_of(job.out)
    if job.out.exists() and not is_begun(folder) and not again:
        if (known := _known(job.out, key)) is not None:
            if folder.exists():
                with writer_lock(folder):
                    end(folder)
            return {**known, "ran": False}
        raise UsageError(
            f"{job.out} is there already, and not from this input, Aligner and settings",
            do="name another file, or replace it with --again",
        )
    with writer_lock(folder):
        begin(folder, key, again=again)
        journal = Journal(folder)
        try:
            if journal.count < count:
                _write_rows(job, journal, count, progress)
            summary = publish(job.source, journal, job.out, types, folder / "shards")
        finally:
            journal.close()
        summary["seconds"] = round(time.monotonic() - started, 3)
        with replacing(_manifest(job.out)) as scratch:
            told = {"out": job.out.name, "sha256": file_hash(job.out), "key": key, "summary": summary}
            scratch.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")
        end(folder)
    return {**summary, "ran": True}


def _write_rows(job: Job, journal: Journal, count: int, progress: Progress) -> None:
    """Write what is left. Slices follow one another, so only the last one in the journal can have gaps."""
    known, started = journal.count, time.monotonic()
    whole = known // job.source.slice_rows
    done = {line.row for line in journal.lines(whole * job.source.slice_rows)}
    if known:
        progress.say(f"{known:,} of {count:,} rows were done before")
    write = job.writer()
    for part in islice(slices(job.source), whole, None):
        left = [row for row in part if row.number not in done]
        empty = [row for row in left if not row.answer.strip()]
        if empty:
            journal.append([Line(row.number, note="empty_answer") for row in empty])
        for lines in write([row for row in left if row.answer.strip()]):
            journal.append(lines)
            progress.update(_told(journal.count, known, count, time.monotonic() - started))


def _told(done: int, known: int, count: int, seconds: float) -> str:
    per_s = (done - known) / max(seconds, 1e-6)
    left_s = round((count - done) / max(per_s, 1e-6))
    left = f"{left_s} s" if left_s < 120 else f"{left_s // 60} min" if left_s < 7200 else f"{left_s / 3600:.1f} h"
    return f"{done:,} of {count:,} rows, {per_s:,.1f} rows/s, about {left} left"


def _manifest(out: Path) -> Path:
    return out.with_name(f"{out.name}.manifest.json")


def _known(out: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an earlier run with this key told of `out`, if it is as it was left."""
    try:
        told: dict[str, Any] = msgspec.json.decode(_manifest(out).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    is_same = told.get("key") == key and told.get("sha256") == file_hash(out)
    return dict(told["summary"]) if is_same else None
