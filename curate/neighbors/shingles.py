"""Sets of character shingles: which texts may be alike by MinHash, and how alike they are by Jaccard similarity."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.neighbors.cosine import Numbers

SIZE = 5
HASHES, BANDS, SEED = 128, 16, 42
"""Bands of 8 hashes: a pair of Jaccard similarity .8 shares one with probability .994."""

DIGITS = 6
ROWS_AT_ONCE = 2_000
SHINGLES_AT_ONCE = 8_000_000
TEXTS_AT_ONCE = 2**16
"""A shingle's hash keeps 48 bits, beside 16 of its text's number: sorted as one integer."""
MOST_IN_BUCKET = 64
"""A row meets the first so many rows of a bucket: boilerplate that thousands share makes no pair of each two."""

Similarities = NDArray[np.float64]


class ShingleSets:
    """The set of hashed shingles of each text. Texts of fewer than `SIZE` characters have one shingle, "" has none."""

    def __init__(self, texts: Sequence[str]) -> None:
        parts = list(_hashed(texts))
        self.hashes = np.concatenate([hashes for hashes, _ in parts] or [np.empty(0, dtype=np.uint64)])
        sizes = np.concatenate([sizes for _, sizes in parts] or [np.empty(0, dtype=np.int64)])
        self.ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def similarity(self, rows: Numbers, others: Numbers) -> Similarities:
        """Jaccard similarity of each pair of rows, rounded to `DIGITS`; two empty sets score 1."""
        found = np.empty(len(rows), dtype=np.float64)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            involved, places = np.unique(np.concatenate([rows[some], others[some]]), return_inverse=True)
            matrix = self._matrix(involved, np.zeros(len(involved), dtype=np.int64))
            one, other = matrix[places[: len(places) // 2]], matrix[places[len(places) // 2 :]]
            shared = np.asarray(one.multiply(other).sum(axis=1)).ravel()
            found[some] = _jaccard(shared, self._sizes(rows[some]), self._sizes(others[some]))
        return found

    def alike(self, groups: Numbers, floor: float) -> tuple[Numbers, Numbers, Similarities]:
        """Pairs (row, earlier row) of one group whose similarity reaches `floor` (above 0), and the similarity.

        groups: the group of each row. All pairs of a group are compared, as products of sparse matrices.
        """
        order = np.argsort(groups, kind="stable").astype(np.int64)
        parts = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))]
        for some in self._whole_groups(order, groups):
            matrix = self._matrix(some, groups[some])
            turned = matrix.T.tocsc()
            sizes = self._sizes(some)
            for start in range(0, len(some), ROWS_AT_ONCE):
                shared = (matrix[start : start + ROWS_AT_ONCE] @ turned).tocoo()
                one, other = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
                similarity = _jaccard(shared.data, sizes[one], sizes[other])
                is_alike = (similarity >= floor) & (some[other] < some[one])
                parts.append((some[one[is_alike]], some[other[is_alike]], similarity[is_alike]))
        rows, others, similarities = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return rows, others, similarities

    def candidates(self) -> tuple[Numbers, Numbers]:
        """Pairs (row, earlier row) that share a band of MinHash values, each once."""
        keys = self._band_keys()
        pairs = [np.empty((0, 2), dtype=np.int64)]
        for band in range(BANDS):
            order = np.argsort(keys[:, band], kind="stable").astype(np.int64)
            pairs.append(_in_buckets(order, keys[order, band]))
        both = np.unique(np.concatenate(pairs), axis=0)
        return both[:, 0], both[:, 1]

    def _band_keys(self) -> NDArray[np.uint64]:
        """One key for each row and band, shape (rows, BANDS); empty sets have keys of their own."""
        from rensa import RMinHash

        keys = np.empty((len(self), BANDS), dtype=np.uint64)
        factors = np.random.default_rng(SEED).integers(1, 2**63, HASHES // BANDS, dtype=np.uint64) | np.uint64(1)
        for start in range(0, len(self), ROWS_AT_ONCE):
            ends = self.ends[start : start + ROWS_AT_ONCE + 1]
            digests = RMinHash.digest_matrix_from_flat_token_hashes(
                self.hashes[ends[0] : ends[-1]], (ends - ends[0]).astype(np.uint64), HASHES, SEED
            )
            values = np.array(digests.to_rows(), dtype=np.uint64).reshape(len(ends) - 1, BANDS, -1)
            keys[start : start + len(values)] = _mixed((values * factors).sum(axis=2, dtype=np.uint64))
        empty = np.flatnonzero(np.diff(self.ends) == 0)
        keys[empty] = empty[:, None].astype(np.uint64)
        return keys

    def _sizes(self, rows: Numbers) -> Numbers:
        return self.ends[rows + 1] - self.ends[rows]

    def _whole_groups(self, order: Numbers, groups: Numbers) -> Iterator[Numbers]:
        """Rows of whole groups together, of groups of two or more, as many as fit."""
        firsts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        sizes = np.diff(np.append(firsts, len(order)))
        waiting: list[Numbers] = []
        shingles = 0
        for first, size in zip(firsts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
            rows = order[first : first + size]
            waiting.append(rows)
            shingles += int(self._sizes(rows).sum())
            if shingles >= SHINGLES_AT_ONCE:
                yield np.concatenate(waiting)
                waiting, shingles = [], 0
        if waiting:
            yield np.concatenate(waiting)

    def _matrix(self, rows: Numbers, groups: Numbers) -> Any:
        """Sparse counts (all 1), a row for each of `rows`, a column for each shingle of a group."""
        from scipy.sparse import csr_array

        sizes = self._sizes(rows)
        ends = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(ends[-1]) - np.repeat(ends[:-1] - self.ends[rows], sizes)
        salted = _mixed(
            self.hashes[places] + np.repeat(groups.astype(np.uint64), sizes) * np.uint64(0x9E3779B97F4A7C15)
        )
        columns = pl.Series(salted).rank("dense").to_numpy().astype(np.int64) - 1
        width = int(columns.max(initial=0)) + 1
        return csr_array((np.ones(len(columns), dtype=np.int32), columns, ends), shape=(len(rows), width))


def _jaccard(shared: NDArray[Any], sizes: Numbers, others: Numbers) -> Similarities:
    union = sizes + others - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0).round(DIGITS)


def _hashed(texts: Sequence[str]) -> Iterator[tuple[NDArray[np.uint64], Numbers]]:
    """Distinct hashed shingles of some texts, text after text, and how many each has."""
    start = 0
    while start < len(texts):
        stop, characters = start, 0
        while stop < min(len(texts), start + TEXTS_AT_ONCE) and characters < SHINGLES_AT_ONCE:
            characters += len(texts[stop])
            stop += 1
        yield _shingled([text.ljust(SIZE, "\0") if text else "" for text in texts[start:stop]])
        start = stop


def _shingled(texts: list[str]) -> tuple[NDArray[np.uint64], Numbers]:
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    counts = np.maximum(0, lengths - SIZE + 1)
    owners = np.repeat(np.arange(len(texts)), counts)
    firsts = np.arange(counts.sum()) + np.repeat(np.cumsum(lengths - counts) - (lengths - counts), counts)
    hashes = np.zeros(len(firsts), dtype=np.uint64)
    for place in range(SIZE):
        hashes = _mixed(hashes + codes[firsts + place] + np.uint64(0x9E3779B97F4A7C15))
    owned = (owners.astype(np.uint64) << np.uint64(48)) | (hashes >> np.uint64(16))
    distinct = pl.Series(owned).sort().to_numpy()
    distinct = distinct[np.concatenate([[True], distinct[1:] != distinct[:-1]])] if len(distinct) else distinct
    sizes = np.bincount((distinct >> np.uint64(48)).astype(np.int64), minlength=len(texts)).astype(np.int64)
    return distinct & np.uint64(2**48 - 1), sizes


def _in_buckets(order: Numbers, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs (row, earlier row) of equal keys. order: rows, ascending within a key; keys: sorted."""
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, np.int64)
    place = np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys))))
    pairs = []
    for back in range(1, MOST_IN_BUCKET + 1):  # the row at place p of a bucket meets the bucket's first rows
        rows = np.flatnonzero(place >= back)
        if not len(rows):
            break
        pairs.append(np.stack([order[rows], order[rows - place[rows] + back - 1]], axis=1))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser: every bit of the input moves every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
