"""The run store: drafts of a stage's tables, their publication, and reading what other stages published."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.identity import file_hash, fingerprint
from curate.store.atomic import publish_folder, remove_folder
from curate.store.manifest import Accounting, Failed, File, Manifest, read_record, write_record
from schemas.errors import CurateError, StoreError

if TYPE_CHECKING:
    import polars as pl

SHARD_ROWS = 50_000
"""Rows of one shard: about 25 MB of prompt text in memory, so a dozen columns of scores stay far below 1 GB."""

ROW_GROUP_ROWS = 10_000
"""Fixed, because the bytes of a Parquet file depend on it."""


class RunStore:
    """The tables of one run directory, by stage."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self._checked: set[Path] = set()

    def manifest(self, stage: str) -> Manifest | None:
        """What `stage` published last."""
        found: Manifest | None = read_record(self.workdir / stage / "manifest.json", Manifest)
        return found

    def failed(self, stage: str) -> Failed | None:
        """Why the last run of `stage` ended early, if it did."""
        found: Failed | None = read_record(self.workdir / stage / "failed.json", Failed)
        return found

    def published(self, stage: str) -> Manifest:
        """The manifest of a stage that must be there. Raises StoreError."""
        manifest = self.manifest(stage)
        if manifest is None:
            raise StoreError(
                f"{self.workdir}: the stage {stage} has published nothing", do=f"curate run --stage {stage}"
            )
        return manifest

    def shards(self, stage: str, table: str) -> list[Path]:
        """Files of one published table, in order. Raises StoreError where one is missing or its bytes have changed."""
        manifest = self.published(stage)
        folder = self.workdir / stage / manifest.folder
        for shard in manifest.tables.get(table, []):
            path = folder / shard.name
            if _is_touched(folder, shard) or (path not in self._checked and file_hash(path) != shard.sha256):
                raise StoreError(
                    f"{path} is missing or was changed since it was published",
                    do=f"curate run --stage {stage} --again makes it anew",
                )
            self._checked.add(path)
        return [folder / shard.name for shard in manifest.tables.get(table, [])]

    def touched(self, manifest: Manifest) -> str:
        """The first published file that is missing or of another size, "" where all are there; reads no file."""
        folder = self.workdir / manifest.stage / manifest.folder
        files = [*(shard for shards in manifest.tables.values() for shard in shards), *manifest.files]
        return next((str(folder / file.name) for file in files if _is_touched(folder, file)), "")

    def frames(self, stage: str, table: str, columns: list[str] | None = None) -> "Iterator[pl.DataFrame]":
        """One published table, shard by shard; of all columns or of some."""
        import polars as pl

        for path in self.shards(stage, table):
            yield pl.read_parquet(path, columns=columns)

    def table(self, stage: str, table: str) -> "pl.LazyFrame":
        """One published table as a lazy frame over its shards."""
        import polars as pl

        return pl.scan_parquet(self.shards(stage, table))

    def file(self, stage: str, name: str) -> Path:
        """A published file that is not a table."""
        return self.workdir / stage / self.published(stage).folder / name

    @contextmanager
    def draft(self, stage: str, key: Mapping[str, Any], unit: str, kept: str) -> "Iterator[Draft]":
        """A draft of the stage's tables; an error in the block leaves a note of it and publishes nothing.

        unit: what the stage counts (row, prompt, request, pair, …). kept: the table whose rows are the kept ones.
        """
        draft = Draft(self.workdir / stage, stage, dict(key), unit, kept)
        try:
            yield draft
        except CurateError as error:
            write_record(draft.home / "failed.json", Failed(fingerprint(key), error.what, error.do))
            raise
        finally:
            remove_folder(draft.scratch)


class Draft:
    """The tables of a stage while they are made; nothing of it can be read before `publish`."""

    def __init__(self, home: Path, stage: str, key: dict[str, Any], unit: str, kept: str) -> None:
        self.home, self.stage, self.key, self.unit, self.kept = home, stage, key, unit, kept
        self.scratch = home / ".draft"
        self._tables: dict[str, list[tuple[str, int]]] = {}
        self._dropped = 0
        self._dropped_by: Counter[str] = Counter()
        self._failed_by: Counter[str] = Counter()
        self._tagged_by: Counter[str] = Counter()
        remove_folder(self.scratch)
        self.scratch.mkdir(parents=True)

    def write(self, table: str, frame: "pl.DataFrame") -> None:
        """Append one shard, checked against its schema. All verdicts on one row must come in one call."""
        from schemas.tables import TABLES

        if table in TABLES:
            frame = TABLES[table].validate(frame, cast=True)
        shards = self._tables.setdefault(table, [])
        name = f"{table}-{len(shards):05d}.parquet"
        with (self.scratch / name).open("wb") as file:
            frame.write_parquet(file, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        shards.append((name, frame.height))
        if table == "verdicts":
            self._count_verdicts(frame)
        if table == "failures":
            self._failed_by.update(frame["kind"].to_list())

    def file(self, name: str) -> Path:
        """Where to write a file that is published with the tables; folders are made."""
        path = self.scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def paths(self, table: str) -> list[Path]:
        """The shards of a table that were written so far."""
        return [self.scratch / name for name, _ in self._tables.get(table, [])]

    def rows(self, table: str) -> int:
        """Rows of a table that were written so far."""
        return sum(rows for _, rows in self._tables.get(table, []))

    def publish(self, rows_in: int, waiting: int = 0, notes: Mapping[str, Any] | None = None) -> Manifest:
        """Check that rows add up, then make all files visible at once. Raises AccountingError."""
        for table in (self.kept, "verdicts", "failures"):
            if table not in self._tables:
                self._write_empty(table)
        rows = {table: sum(rows for _, rows in shards) for table, shards in self._tables.items()}
        accounting = Accounting(self.unit, rows_in, rows[self.kept], self._dropped, rows["failures"], waiting)
        accounting.check(self.stage)
        tables = {
            table: [File.of(self.scratch, name, rows) for name, rows in shards]
            for table, shards in sorted(self._tables.items())
        }
        names = {file.name for shards in tables.values() for file in shards}
        others = sorted(path.relative_to(self.scratch).as_posix() for path in self.scratch.rglob("*") if path.is_file())
        files = [File.of(self.scratch, name) for name in others if name not in names]
        content = fingerprint({"tables": tables, "files": files})
        manifest = Manifest(
            stage=self.stage,
            fingerprint=fingerprint(self.key),
            key=self.key,
            folder=f"data-{content[:16]}",
            tables=tables,
            files=files,
            accounting=accounting,
            dropped_by=dict(sorted(self._dropped_by.items())),
            failed_by=dict(sorted(self._failed_by.items())),
            tagged_by=dict(sorted(self._tagged_by.items())),
            notes=dict(notes or {}),
        )
        self._make_visible(manifest)
        return manifest

    def _make_visible(self, manifest: Manifest) -> None:
        """The folder is named by its content, so a reader of the old manifest keeps the old files until the end."""
        folder = self.home / manifest.folder
        if _is_whole(folder, manifest):
            remove_folder(self.scratch)
        else:
            remove_folder(folder)
            publish_folder(self.scratch, folder)
        write_record(self.home / "manifest.json", manifest)
        (self.home / "failed.json").unlink(missing_ok=True)
        for other in sorted(self.home.glob("data-*")):
            if other != folder:
                remove_folder(other)

    def _write_empty(self, table: str) -> None:
        from schemas.tables import TABLES

        self.write(table, TABLES[table].create_empty())

    def _count_verdicts(self, frame: "pl.DataFrame") -> None:
        import polars as pl

        against = frame.filter(~pl.col("kept"))
        self._dropped += against["row_id"].n_unique()
        first = against.unique("row_id", keep="first", maintain_order=True)
        self._dropped_by.update(first["rule"].to_list())
        self._tagged_by.update(frame.filter(pl.col("kept"))["rule"].to_list())


def _is_touched(folder: Path, file: File) -> bool:
    path = folder / file.name
    return not path.is_file() or path.stat().st_size != file.size_bytes


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    files = [*manifest.files, *(shard for shards in manifest.tables.values() for shard in shards)]
    return folder.is_dir() and all(
        (folder / file.name).is_file() and File.of(folder, file.name, file.rows) == file for file in files
    )
