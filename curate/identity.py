"""Content ids: the same content has the same id on every machine, in every order, at every time."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

SAMPLES, SAMPLE_BYTES = 64, 65_536


def content_id(kind: str, *parts: Any) -> str:
    """32 hexadecimal digits (128 bits of BLAKE2b) over the canonical JSON of kind and parts."""
    return hashlib.blake2b(msgspec.json.encode([kind, *parts], order="deterministic"), digest_size=16).hexdigest()


def content_ids(kind: str, *columns: Iterable[Any]) -> list[str]:
    """The id of each row of equally long columns; 400K rows per CPU-second."""
    encode = msgspec.json.Encoder(order="deterministic").encode
    blake2b = hashlib.blake2b
    return [blake2b(encode([kind, *row]), digest_size=16).hexdigest() for row in zip(*columns, strict=True)]


def request_key(provider: str, model: str, body: bytes, sample_index: int = 0) -> str:
    """64 hexadecimal digits: the key of a call in the ledger. No URL, key or time-out goes in.

    The first element is the version of this key's make-up: raise it when that changes.
    """
    return hashlib.sha256(_head(provider, model, sample_index) + body).hexdigest()


@lru_cache(maxsize=1024)
def _head(provider: str, model: str, sample_index: int) -> bytes:
    """What stands before the body in a request's key: the same for all calls of a model."""
    return msgspec.json.encode([1, provider, model, sample_index]) + b"\n"


def fingerprint(key: Mapping[str, Any]) -> str:
    """64 hexadecimal digits over a stage's inputs, configuration and versions."""
    return hashlib.sha256(msgspec.json.encode(key, order="deterministic")).hexdigest()


def folder_digest(folder: Path) -> str:
    """32 hexadecimal digits over a model's folder, in milliseconds: names, sizes and bytes, of large files in part.

    Of a file over 4 MiB 64 KiB are read at 64 places, evenly apart: training moves weights everywhere. Hidden files and
    Markdown (a card, a repository's own files) do not count.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and _counts(path.relative_to(folder)))
    parts = [[path.relative_to(folder).as_posix(), path.stat().st_size, _sampled(path)] for path in files]
    return content_id("folder", parts)


def _counts(path: Path) -> bool:
    return path.suffix != ".md" and not any(part.startswith(".") for part in path.parts)


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    if size <= SAMPLES * SAMPLE_BYTES:
        return file_hash(path)
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for number in range(SAMPLES):
            file.seek(number * (size - SAMPLE_BYTES) // (SAMPLES - 1))
            found.update(file.read(SAMPLE_BYTES))
    return found.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
