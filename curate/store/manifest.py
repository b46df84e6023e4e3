"""The manifest of a stage: which files it published, with hashes, from which inputs, and how its rows add up."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

from curate.identity import file_hash
from curate.store.atomic import replacing
from schemas.errors import AccountingError, StoreError

State = Literal["missing", "stale", "failed", "waiting", "done"]


class File(msgspec.Struct, frozen=True):
    """One published file; `rows` is 0 where it is not a table."""

    name: str
    size_bytes: int
    sha256: str
    rows: int = 0

    @classmethod
    def of(cls, folder: Path, name: str, rows: int = 0) -> "File":
        """Measure a file that lies on the disk."""
        path = folder / name
        return cls(name=name, size_bytes=path.stat().st_size, sha256=file_hash(path), rows=rows)


class Accounting(msgspec.Struct, frozen=True):
    """Rows in = kept + dropped + failed + waiting, in the unit that the stage counts."""

    unit: str
    rows_in: int
    kept: int
    dropped: int
    failed: int
    waiting: int = 0

    def check(self, stage: str) -> None:
        """Raises AccountingError if a row was lost or made up."""
        out = self.kept + self.dropped + self.failed + self.waiting
        if out != self.rows_in:
            raise AccountingError(
                f"{stage}: {self.rows_in} rows in, but {out} out ({self.kept} kept, {self.dropped} dropped, "
                f"{self.failed} failed, {self.waiting} waiting); nothing was published",
                do="this is a bug in the stage: please report it with the run directory",
            )


class Manifest(msgspec.Struct, frozen=True):
    """What one stage published. `folder` holds the files; `key` is what `fingerprint` is the hash of."""

    stage: str
    fingerprint: str
    key: dict[str, Any]
    folder: str
    tables: dict[str, list[File]]
    files: list[File]
    accounting: Accounting
    dropped_by: dict[str, int]
    failed_by: dict[str, int]
    tagged_by: dict[str, int]
    notes: dict[str, Any]
    format: int = 1

    def rows(self, table: str) -> int:
        """Rows of one table over its shards."""
        return sum(shard.rows for shard in self.tables[table])

    def content(self, name: str) -> str:
        """Hash of a table or file by content, not by how or when it was made."""
        files = self.tables.get(name) or [file for file in self.files if file.name == name]
        return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()


class Failed(msgspec.Struct, frozen=True):
    """Why the last run of a stage ended early."""

    fingerprint: str
    what: str
    do: str


def read_record(path: Path, kind: type[Any]) -> Any:
    """A manifest or failure note, None where there is none. Raises StoreError on a damaged one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} is damaged: {error}", do="remove it and run the stage again") from error


def write_record(path: Path, record: Any) -> None:
    """Write as JSON with sorted keys, whole or not at all."""
    encoded = msgspec.json.format(msgspec.json.encode(record, order="deterministic"), indent=2)
    with replacing(path) as scratch:
        scratch.write_bytes(encoded + b"\n")


def state(manifest: Manifest | None, failed: Failed | None, fingerprint: str | None) -> State:
    """What a stage is, judged by hashes alone; `fingerprint` is None while its inputs are not there."""
    is_published = manifest is not None and manifest.fingerprint == fingerprint
    if failed is not None and failed.fingerprint == fingerprint and not is_published:
        return "failed"
    if manifest is None:
        return "missing"
    if not is_published:
        return "stale"
    return "waiting" if manifest.accounting.waiting else "done"
