"""Which files a configured path means, in a fixed order."""

import glob
from collections.abc import Iterable
from pathlib import Path

from schemas.errors import SourceError

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")
COMPRESSIONS = (".gz", ".zst")


def matching(folder: Path, path: str) -> list[str]:
    """Files that `path` (a name or a glob) means, relative to `folder` as it is written, sorted.

    Raises SourceError where there is none or one has an ending that we cannot read.
    """
    if glob.has_magic(path):
        names = sorted(glob.glob(path, root_dir=folder, recursive=True))  # noqa: PTH207  keeps names as written
        names = [name for name in names if (folder / name).is_file()]
    else:
        names = [path] if (folder / path).is_file() else []
    if not names:
        kind = "no file matches" if glob.has_magic(path) else "there is no file"
        raise SourceError(
            f"{kind} {path} (looked in {folder})",
            do="correct `path` of this source; it is relative to the configuration file",
        )
    for name in names:
        format_of(name)
    return names


def check_each_once(names: Iterable[str], folder: Path) -> None:
    """Raises SourceError where two sources mean the same file: its rows would be counted twice."""
    seen: dict[Path, str] = {}
    for name in names:
        real = (folder / name).resolve()
        if real in seen:
            raise SourceError(f"{name} is read by two sources (also as {seen[real]})", do="narrow one of the two paths")
        seen[real] = name


def format_of(name: str) -> tuple[str, str]:
    """Format and compression by the file's ending, such as (".jsonl", ".gz"). Raises SourceError."""
    suffixes = Path(name).suffixes
    compression = suffixes[-1] if suffixes and suffixes[-1] in COMPRESSIONS else ""
    rest = suffixes[:-1] if compression else suffixes
    if not rest or rest[-1] not in FORMATS or (rest[-1] == ".parquet" and compression):
        raise SourceError(
            f"{name}: cannot tell the format by the ending",
            do=f"known: {', '.join(FORMATS)}, text also with .gz or .zst",
        )
    return rest[-1], compression
