"""What is written of a file so far: a folder beside the result, with the key of the work and a line a row done."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from curate.store.atomic import remove_folder, replacing, sync_folder
from schemas.errors import StageError

KEY, LINES = "key.json", "rows.jsonl"


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a row. correction: None where the answer stays. note: why it was passed through."""

    row: int
    correction: str | None = None
    note: str | None = None
    passes: int = 0


def folder_of(out: Path) -> Path:
    """The folder beside a result that is not yet whole."""
    return out.with_name(f".{out.name}.partial")


def begin(folder: Path, key: Mapping[str, Any], *, again: bool) -> None:
    """Make the folder for a work with this key, or go on in it unless it is to be done again.

    Raises StageError where it is that of another work.
    """
    path = folder / KEY
    if again:
        path.unlink(missing_ok=True)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LINES).unlink(missing_ok=True)
        with replacing(path) as scratch:
            scratch.write_bytes(msgspec.json.encode(key))
        return
    begun = msgspec.json.decode(path.read_bytes())
    if differing := [name for name in {**key, **begun} if key.get(name) != begun.get(name)]:
        told = "; ".join(f"{name} was {begun.get(name)}, now {key.get(name)}" for name in differing)
        raise StageError(
            f"{folder} holds rows of another work: {told}",
            do="repeat the command that began it, write to another file, or start anew with --again",
        )


def is_begun(folder: Path) -> bool:
    """Whether a work was begun in the folder and has not ended."""
    return (folder / KEY).exists()


def end(folder: Path) -> None:
    """Forget the work and its rows; the key goes first, as it says that rows are kept."""
    (folder / KEY).unlink(missing_ok=True)
    remove_folder(folder)


class Journal:
    """The lines of a folder in the order in which they were done; a line that a crash cut is forgotten."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LINES
        is_new = not self._path.exists()
        self._file = self._path.open("ab")
        if is_new:
            sync_folder(folder)
        self.count = self._mended()

    def lines(self, start: int = 0) -> Iterator[Line]:
        """The lines from one number on."""
        decode = msgspec.json.Decoder(Line).decode
        with self._path.open("rb") as file:
            for number, line in enumerate(file):
                if number >= start:
                    yield decode(line)

    def append(self, lines: Sequence[Line]) -> None:
        """Add lines; they are on the disk when this returns."""
        self._file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.count += len(lines)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _mended(self) -> int:
        """Cut what follows the last whole line; how many lines there are."""
        count = whole_bytes = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                count += 1
                whole_bytes += len(line)
        self._file.truncate(whole_bytes)
        return count
