"""Vectors of texts, embedded once: kept in the run directory under text, model and settings."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curate.embed.embedder import Embedder, EmbedSettings
from curate.identity import fingerprint
from curate.store.atomic import replacing
from schemas.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

LENGTH_TOLERANCE = 1e-3
TEXTS_AT_ONCE = 4096
"""Texts embedded between two files: a crash costs at most so many."""


class Vectors:
    """A folder of Parquet files, each of some texts' hashes and vectors; files are only ever added.

    Texts that are missing are embedded in order of tokens and hash, a file at a time. So batches depend on the set of
    missing texts alone, and a run that was killed goes on with the same batches as an undisturbed one. Texts that come
    later get neighbours of their own: the last bits of a vector (4e-7 of a cosine) depend on when it was embedded.
    """

    def __init__(self, home: Path, settings: EmbedSettings, open_embedder: Callable[[], Embedder]) -> None:
        self._folder = home / fingerprint(settings.describe())[:16]
        self._open_embedder = open_embedder
        self._embedder: Embedder | None = None

    def of(
        self, texts: Sequence[str], tell: Callable[[int, int], None] = lambda _done, _all: None
    ) -> "NDArray[np.float32]":
        """Rows of length 1, float32, shape (texts, dimensions). tell: is given how many of the missing are embedded."""
        import numpy as np
        import polars as pl

        keys = pl.Series("key", [text_key(text) for text in texts], dtype=pl.String)
        wanted = pl.DataFrame({"key": keys, "row": np.arange(len(texts))})
        self._embed_missing(wanted, texts, tell)
        vectors: NDArray[np.float32] | None = None
        found_rows = 0
        for path in self._files():
            found = _read(path).join(wanted, on="key", how="inner")
            if found.is_empty():
                continue
            some = found["vector"].to_numpy()
            if vectors is None:
                vectors = np.zeros((len(texts), some.shape[1]), dtype=np.float32)
            vectors[found["row"].to_numpy()] = some
            found_rows += found.height
        if vectors is None:
            vectors = np.zeros((0, 0), dtype=np.float32)
        lengths = np.einsum("ij,ij->i", vectors, vectors)
        if found_rows != len(texts) or not bool((np.abs(lengths - 1.0) < LENGTH_TOLERANCE).all()):
            raise StoreError(
                f"{self._folder}: vectors are missing or damaged", do="remove this folder: all texts are embedded anew"
            )
        return vectors

    def _embed_missing(self, wanted: "pl.DataFrame", texts: Sequence[str], tell: Callable[[int, int], None]) -> None:
        import polars as pl

        missing = wanted.unique("key", keep="first", maintain_order=True)
        for path in self._files():
            missing = missing.join(_read(path, ["key"]), on="key", how="anti")
        if missing.is_empty():
            return
        if self._embedder is None:
            self._embedder = self._open_embedder()
        embedder = self._embedder
        rows = missing["row"].to_list()
        tokens = [
            count
            for start in range(0, len(rows), TEXTS_AT_ONCE)
            for count in embedder.tokens([texts[row] for row in rows[start : start + TEXTS_AT_ONCE]]).tolist()
        ]
        ordered = missing.with_columns(tokens=pl.Series(tokens, dtype=pl.Int64)).sort("tokens", "key")
        for start in range(0, ordered.height, TEXTS_AT_ONCE):
            tell(start, ordered.height)
            some = ordered[start : start + TEXTS_AT_ONCE]
            vectors = embedder.encode([texts[row] for row in some["row"].to_list()])
            self._keep(some["key"], vectors)
        tell(ordered.height, ordered.height)

    def _keep(self, keys: "pl.Series", vectors: "NDArray[np.float32]") -> None:
        import polars as pl

        last = max((int(path.stem.rpartition("-")[2]) for path in self._files()), default=-1)
        name = f"vectors-{last + 1:06d}.parquet"
        frame = pl.DataFrame({"key": keys, "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1]))})
        with replacing(self._folder / name) as scratch:
            frame.write_parquet(scratch, compression="uncompressed")

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("vectors-*.parquet"))


def _read(path: Path, columns: list[str] | None = None) -> "pl.DataFrame":
    import polars as pl

    try:
        return pl.read_parquet(path, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(
            f"{path} cannot be read: {error}", do="remove this file: its texts are embedded anew"
        ) from error


def text_key(text: str) -> str:
    """32 hexadecimal digits of a text's content."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
