"""Files to rows, one at a time: JSON lines, JSON, CSV, Parquet, plain or compressed. A broken row is a value, no error.

Parsing is a loop over rows (msgspec decodes about 500K short rows per CPU-second); memory holds one row or block.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from curate.sources.files import format_of
from schemas.errors import SourceError

MOST_ROW_BYTES = 8 * 2**20
"""A longer line is not a prompt but a fault of the file; it becomes a failure row without being held in memory."""

BLOCK_ROWS = 5000
PACKED_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that cannot be read: its kind and what is wrong with it."""

    kind: str
    detail: str


def rows(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    """Row number (lines and CSV rows from 1 as an editor shows them, others from 1) and value or Broken.

    name: how errors call the file. Raises SourceError where the file is broken as a whole.
    """
    format_, compression = format_of(name)
    if path.stat().st_size == 0:
        yield 0, Broken("empty_file", "the file has no bytes")
        return
    last = 0
    try:
        if format_ == ".parquet":
            reader = _parquet(path)
        else:
            stream = _opened(path, compression)
            reader = (
                _lines(stream)
                if format_ in (".jsonl", ".ndjson")
                else _csv(stream)
                if format_ == ".csv"
                else _json(stream)
            )
        for number, value in reader:
            last = number
            yield number, value
    except _file_errors() as error:
        raise SourceError(
            f"{name}: broken after row {last}: {str(error).splitlines()[0][:300] or type(error).__name__}",
            do="repair or replace the file; nothing of it was used",
        ) from error


def _file_errors() -> tuple[type[Exception], ...]:
    import ijson
    import polars as pl
    import zstandard

    ours = (OSError, EOFError, ValueError, RecursionError, zlib.error, msgspec.DecodeError)
    return (*ours, ijson.JSONError, pl.exceptions.PolarsError, zstandard.ZstdError)


def _opened(path: Path, compression: str) -> IO[bytes]:
    if compression == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if compression == ".zst":
        import zstandard

        return io.BufferedReader(_Zstandard(path.open("rb"), zstandard.ZstdDecompressor()), 2**20)
    return path.open("rb", buffering=2**20)


class _Zstandard(io.RawIOBase):
    """Decompressed bytes of all frames of a file. Raises EOFError where it ends inside one."""

    def __init__(self, file: IO[bytes], decompressor: Any) -> None:
        self._file, self._decompressor = file, decompressor
        self._frame = decompressor.decompressobj()
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as bytes are ready; 0 at the end."""
        while not self._ready:
            packed = (self._frame.unused_data if self._frame.eof else b"") or self._file.read(PACKED_BYTES)
            if self._frame.eof:
                if not packed:
                    return 0
                self._frame = self._decompressor.decompressobj()
            if not packed:
                raise EOFError("the compressed data ends in the middle")
            self._ready = memoryview(self._frame.decompress(packed))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        """Close the file as well."""
        self._file.close()
        super().close()


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    decode = msgspec.json.Decoder().decode
    with stream:
        number = 0
        while line := stream.readline(MOST_ROW_BYTES):
            number += 1
            if len(line) == MOST_ROW_BYTES and not line.endswith(b"\n"):
                yield (
                    number,
                    Broken("row_too_long", f"{len(line) + _skip_line(stream)} bytes; at most {MOST_ROW_BYTES}"),
                )
                continue
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                yield number, decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield number, _broken_line(line, error)
        if number == 0:
            yield 0, Broken("empty_file", "the file has no rows")


def _skip_line(stream: IO[bytes]) -> int:
    skipped = 0
    while piece := stream.readline(MOST_ROW_BYTES):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def _broken_line(line: bytes, error: Exception) -> Broken:
    start = line[:80].decode("utf-8", errors="replace").strip()
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return Broken("invalid_utf8", f"byte {wrong.start} of the line is not UTF-8; it starts with: {start}")
    return Broken("invalid_json", f"{error}; it starts with: {start}")


def _csv(stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(MOST_ROW_BYTES)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    with text:
        reader = csv.reader(text, strict=True)
        header = next(reader, None)
        if not header:
            yield 0, Broken("empty_file", "the file has no header")
            return
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield number, Broken("row_too_long" if "limit" in str(error) else "invalid_csv", str(error))
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                yield number, Broken("invalid_csv", f"{len(cells)} cells, but the header has {len(header)}")
            elif any("\udc80" <= character <= "\udcff" for cell in cells for character in cell if character > "\ud7ff"):
                yield number, Broken("invalid_utf8", "a cell is not UTF-8")
            else:
                yield number, dict(zip(header, cells, strict=True))


def _json(stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """Elements of the outer array one at a time; a file that is no array is one row, held in memory."""
    import ijson

    with stream:
        first = next(
            (byte for byte in iter(lambda: stream.read(1), b"") if not byte.isspace() and byte not in b"\xef\xbb\xbf"),
            b"",
        )
        if first == b"[":
            number = 0
            for number, value in enumerate(ijson.items(_After(first, stream), "item", use_float=True), start=1):
                yield number, value
            if number == 0:
                yield 0, Broken("empty_file", "the array has no elements")
        else:
            yield 1, msgspec.json.decode(first + stream.read())


class _After:
    """A stream with the byte that was read from it to look at; a packed one cannot go back."""

    def __init__(self, first: bytes, stream: IO[bytes]) -> None:
        self._first, self._stream = first, stream

    def read(self, size: int = -1) -> bytes:
        """The byte first, then the rest."""
        if size == 0:
            return b""
        first, self._first = self._first, b""
        return first or self._stream.read(size)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import polars as pl

    frame = pl.scan_parquet(path)
    height = int(frame.select(pl.len()).collect().item())
    if height == 0:
        yield 0, Broken("empty_file", "the table has no rows")
    for start in range(0, height, BLOCK_ROWS):
        for offset, row in enumerate(frame.slice(start, BLOCK_ROWS).collect().iter_rows(named=True)):
            yield start + offset + 1, row
