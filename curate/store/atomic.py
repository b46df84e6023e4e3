"""Files that appear whole or not at all: scratch file, fsync, rename, fsync of the directory."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch path beside `path` to write to; it takes the place of `path` when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.scratch")
    try:
        yield scratch
        sync_file(scratch)
        scratch.replace(path)
        sync_folder(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def publish_folder(scratch: Path, folder: Path) -> None:
    """Sync each file of `scratch` and rename it to `folder`, which must not exist."""
    for place, _, names in os.walk(scratch):
        for name in names:
            sync_file(Path(place, name))
        sync_folder(Path(place))
    scratch.rename(folder)
    sync_folder(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder that may be absent."""
    if folder.exists():
        shutil.rmtree(folder)


def sync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk."""
    sync_file(folder)
