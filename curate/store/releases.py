"""Release directories: written whole, never changed; listed, read, verified and exported."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.identity import file_hash
from curate.store.atomic import publish_folder, remove_folder
from curate.store.manifest import Manifest
from schemas.errors import ReleaseError

if TYPE_CHECKING:
    import polars as pl

SPLITS = ("train", "validation", "test")
REFERENCE_COLUMNS = ("question", "answer", "correction")
COUNTED = ("annotator", "upstream_model", "source", "license")
ROW_GROUP_ROWS = 10_000
EXPORT = "export.json"
"""Lies in a folder that was exported for a trainer, and says what it holds."""


def versions(folder: Path) -> list[str]:
    """All releases in a folder, oldest version first."""
    from curate.release.version import parse

    names = [path.parent.name for path in folder.glob("[0-9]*.[0-9]*.[0-9]*/manifest.json")]
    return sorted(names, key=parse)


def has_release(workdir: Path, published: Manifest) -> bool:
    """Whether the release that the stage's manifest names lies in the run directory."""
    return (workdir / "releases" / str(published.notes["version"]) / "manifest.json").is_file()


def manifest_of(release: Path) -> dict[str, Any]:
    """The manifest of one release. Raises ReleaseError."""
    path = release / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ReleaseError(f"there is no release at {release}", do="curate release list shows them") from error
    except ValueError as error:
        raise ReleaseError(f"{path} is damaged: {error}", do="restore the release from a copy") from error
    return manifest


def rows(release: Path) -> "pl.LazyFrame":
    """All rows of a release, split by split."""
    import polars as pl

    return pl.scan_parquet(_tables(release))


def _tables(release: Path) -> list[Path]:
    return [release / "data" / f"{split}.parquet" for split in SPLITS]


def content_root(shards: Iterable[Path]) -> str:
    """SHA-256 over the sorted hashes of all rows' canonical JSON: whatever their order, files and Parquet writer.

    Memory holds one shard and 16 bytes a row.
    """
    import numpy as np
    import polars as pl

    hashes = bytearray()
    for shard in shards:
        frame = pl.read_parquet(shard)
        for start in range(0, frame.height, ROW_GROUP_ROWS):
            block = frame[start : start + ROW_GROUP_ROWS]
            for row in block.select(pl.struct(sorted(block.columns)).struct.json_encode()).to_series():
                hashes += hashlib.blake2b(row.encode("utf-8"), digest_size=16).digest()
    return hashlib.sha256(np.sort(np.frombuffer(hashes, dtype="S16")).tobytes()).hexdigest()


def create(folder: Path, name: str, triples: Sequence[Path], provenance: Mapping[str, Any]) -> tuple[str, bool]:
    """The version that holds these rows, and whether it is new; equal rows make no second release.

    triples: Parquet shards of the table of triples, in order. Memory holds one shard at a time.
    """
    import polars as pl

    from curate.release.diff import compare
    from curate.release.version import next_version

    root = content_root(triples)
    known = versions(folder)
    latest = manifest_of(folder / known[-1]) if known else None
    if latest is not None and latest["content_root"] == root:
        return str(latest["version"]), False
    change = None if latest is None else compare(rows(folder / known[-1]), pl.scan_parquet(list(triples)))[0]
    version = "1.0.0" if change is None else next_version(known[-1], change)
    scratch = folder / ".draft"
    remove_folder(scratch)
    _write(scratch, triples)
    manifest = {
        "format": 1,
        "name": name,
        "version": version,
        "previous": known[-1] if known else None,
        "change": None
        if change is None
        else {"added": change.added, "removed": change.removed, "changed": change.changed},
        "content_root": root,
        **_counts(triples),
        "provenance": dict(provenance),
        "writer": {"polars": pl.__version__},
    }
    _describe(scratch, manifest)
    publish_folder(scratch, folder / version)
    return version, True


def verify(release: Path) -> list[str]:
    """What is wrong with a release: files that miss, changed or came, rows that differ from the content root."""
    manifest = manifest_of(release)
    listed = {file["name"]: file for file in manifest["files"]}
    found = {path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file()}
    faults = [f"{name}: missing" for name in sorted(listed.keys() - found)]
    faults += [f"{name}: not in the manifest" for name in sorted(found - listed.keys() - {"manifest.json"})]
    for name in sorted(listed.keys() & found):
        if file_hash(release / name) != listed[name]["sha256"]:
            faults.append(f"{name}: its bytes differ from the manifest's SHA-256")
    if not faults and content_root(_tables(release)) != manifest["content_root"]:
        faults.append("the rows differ from the manifest's content root")
    return faults


def export(release: Path, kind: str, target: Path) -> list[Path]:
    """Copy one format's files (parquet, jsonl, json) of a release into a folder, each whole or not at all.

    Raises ReleaseError where the folder holds an export for a trainer.
    """
    from curate.store.atomic import replacing

    if (target / EXPORT).exists():
        raise ReleaseError(f"{target} holds an export for a trainer", do="name another folder: formats are never mixed")
    source = release / {"parquet": "data", "jsonl": "jsonl", "json": "json"}[kind]
    copied = []
    for path in sorted(source.iterdir()):
        with replacing(target / path.name) as scratch:
            shutil.copyfile(path, scratch)
        copied.append(target / path.name)
    return copied


def _write(scratch: Path, triples: Sequence[Path]) -> None:
    import polars as pl

    for folder in ("data", "jsonl", "json"):
        (scratch / folder).mkdir(parents=True)
    for split in SPLITS:
        part = pl.scan_parquet(list(triples)).filter(pl.col("split") == split)
        part.sink_parquet(
            scratch / "data" / f"{split}.parquet",
            compression="zstd",
            row_group_size=ROW_GROUP_ROWS,
            maintain_order=True,
        )
        with (
            (scratch / "jsonl" / f"{split}.jsonl").open("wb") as lines,
            (scratch / "json" / f"{split}.json").open("wb") as array,
        ):
            array.write(b"[")
            is_first = True
            for shard in triples:
                frame = pl.read_parquet(shard).filter(pl.col("split") == split)
                lines.write(frame.write_ndjson().encode("utf-8"))
                if frame.is_empty():
                    continue
                objects = frame.select(REFERENCE_COLUMNS).write_ndjson().encode("utf-8").rstrip(b"\n")
                array.write((b"\n" if is_first else b",\n") + objects.replace(b"\n", b",\n"))
                is_first = False
            array.write(b"\n]\n")


def _counts(triples: Sequence[Path]) -> dict[str, Any]:
    import polars as pl

    by_column: dict[str, Counter[str]] = {column: Counter() for column in ("split", *COUNTED)}
    identity = 0
    for shard in triples:
        frame = pl.read_parquet(shard, columns=["split", "is_identity", *COUNTED])
        identity += int(frame["is_identity"].sum())
        for column, counter in by_column.items():
            counter.update({name or "null": count for name, count in frame[column].value_counts().iter_rows()})
    splits = by_column.pop("split")
    return {
        "rows": splits.total(),
        "splits": {split: splits[split] for split in SPLITS},
        "identity_corrections": identity,
        "counts": {column: dict(sorted(counter.items())) for column, counter in by_column.items()},
    }


def _describe(scratch: Path, manifest: dict[str, Any]) -> None:
    from curate.release.card import card
    from schemas.json_schema import rendered

    (scratch / "schema.json").write_text(rendered("triples"), encoding="utf-8")
    (scratch / "README.md").write_text(card(manifest), encoding="utf-8")
    files = sorted(path for path in scratch.rglob("*") if path.is_file())
    manifest["files"] = [
        {"name": path.relative_to(scratch).as_posix(), "size_bytes": path.stat().st_size, "sha256": file_hash(path)}
        for path in files
    ]
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
    (scratch / "manifest.json").write_text(text + "\n", encoding="utf-8")
