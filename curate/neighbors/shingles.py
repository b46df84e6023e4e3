"""Sets of character shingles: which texts may be alike by MinHash, and how alike they are by Jaccard similarity."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.neighbors.cosine import Numbers
from schemas.errors import StageError

SIZE = 5
HASHES, BANDS, SEED = 128, 16, 42
"""Bands of 8 hashes: a pair of Jaccard similarity .8 shares one with probability .994."""

DIGITS = 6
ROWS_AT_ONCE = 2_000
CHARACTERS_AT_ONCE = 8_000_000
PRODUCTS_AT_ONCE = 4_000_000
TEXTS_AT_ONCE = 2**15
TEXT_BITS, HASH_BITS = np.uint64(20), np.uint64(44)
"""Text and shingle are sorted as one integer: sets of at most a million texts, hashes that collide once in 10**13."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MOST_IN_BUCKET = 64
"""A row meets the first so many rows of a bucket: boilerplate that thousands share makes no pair of each two."""

Similarities = NDArray[np.float64]


class ShingleSets:
    """The set of hashed shingles of each of some texts. Short texts have one shingle, "" has none."""

    def __init__(self, texts: Sequence[str]) -> None:
        if len(texts) >= 2 ** int(TEXT_BITS):
            raise StageError(
                f"{len(texts):,} pairs in one cluster of questions are more than are compared",
                do="raise question_similarity, or filter the prompts that are nearly alike",
            )
        self.hashes, sizes = _shingled([text.ljust(SIZE, "\0") if text else "" for text in texts])
        self.ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @property
    def sizes(self) -> Numbers:
        """Shingles of each text."""
        return np.diff(self.ends)

    def matrix(self, groups: Numbers) -> Any:
        """Sparse counts (all 1): a row for each text, a column for each shingle of a group."""
        from scipy.sparse import csr_array

        salted = _mixed(self.hashes + np.repeat(groups.astype(np.uint64), self.sizes) * GOLDEN)
        columns = pl.Series(salted).rank("dense").to_numpy().astype(np.int64) - 1
        shape = (len(self.ends) - 1, int(columns.max(initial=0)) + 1)
        return csr_array((np.ones(len(columns), dtype=np.int32), columns, self.ends), shape=shape)

    def band_keys(self) -> NDArray[np.uint64]:
        """One key for each text and band, shape (texts, BANDS), from MinHash values."""
        from rensa import RMinHash

        digests = RMinHash.digest_matrix_from_flat_token_hashes(self.hashes, self.ends.astype(np.uint64), HASHES, SEED)
        values = np.array(digests.to_rows(), dtype=np.uint64).reshape(len(self.ends) - 1, BANDS, HASHES // BANDS)
        factors = np.random.default_rng(SEED).integers(1, 2**63, HASHES // BANDS, dtype=np.uint64) | np.uint64(1)
        return _mixed((values * factors).sum(axis=2, dtype=np.uint64))


def similarity(texts: Sequence[str], rows: Numbers, others: Numbers) -> Similarities:
    """Jaccard similarity of each pair of texts, rounded to `DIGITS`; two empty texts score 1."""
    found = np.empty(len(rows), dtype=np.float64)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    for some in _slices(lengths[rows] + lengths[others]):
        involved, places = np.unique(np.concatenate([rows[some], others[some]]), return_inverse=True)
        sets = ShingleSets([texts[row] for row in involved.tolist()])
        one, other = np.split(places, 2)
        matrix = sets.matrix(np.zeros(len(involved), dtype=np.int64))
        shared = np.asarray(matrix[one].multiply(matrix[other]).sum(axis=1)).ravel()
        found[some] = _jaccard(shared, sets.sizes[one], sets.sizes[other])
    return found


def alike(texts: Sequence[str], groups: Numbers, floor: float) -> tuple[Numbers, Numbers, Similarities]:
    """Pairs (row, earlier row) of one group whose similarity reaches `floor` (above 0), and the similarity.

    groups: the group of each text. All pairs of a group are compared, as products of sparse matrices: quadratic in the
    largest group. Memory holds the shingles of whole groups, of about 8M characters or of the largest.
    """
    parts = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))]
    for some in _whole_groups(texts, groups):
        sets = ShingleSets([texts[row] for row in some.tolist()])
        matrix, sizes = sets.matrix(groups[some]), sets.sizes
        turned = matrix.T.tocsc()
        step = max(1, min(ROWS_AT_ONCE, PRODUCTS_AT_ONCE // len(some)))
        for start in range(0, len(some), step):
            shared = (matrix[start : start + step] @ turned).tocoo()
            one, other = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
            found = _jaccard(shared.data, sizes[one], sizes[other])
            is_alike = (found >= floor) & (some[other] < some[one])
            parts.append((some[one[is_alike]], some[other[is_alike]], found[is_alike]))
    rows, others, similarities = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return rows, others, similarities


def candidates(texts: Sequence[str]) -> tuple[Numbers, Numbers]:
    """Pairs (row, earlier row) that share a band of MinHash values, each once; an empty text is in none.

    Memory holds 128 bytes of keys for each text, and the shingles of some.
    """
    keys = np.empty((len(texts), BANDS), dtype=np.uint64)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    for some in _slices(lengths):
        keys[some] = ShingleSets(texts[some]).band_keys()
    found = np.empty(0, dtype=np.int64)
    for band in range(BANDS):
        order = np.argsort(keys[:, band], kind="stable").astype(np.int64)
        order = order[lengths[order] > 0]
        pairs = _in_buckets(order, keys[order, band])
        found = np.union1d(found, pairs[:, 0] * len(texts) + pairs[:, 1])
    return np.divmod(found, max(1, len(texts)))


def _slices(lengths: Numbers) -> Iterator[slice]:
    """Rows that follow each other, as many together as have about CHARACTERS_AT_ONCE, and no more than ROWS_AT_ONCE."""
    start = 0
    while start < len(lengths):
        sums = np.cumsum(lengths[start : start + ROWS_AT_ONCE])
        stop = start + max(1, int(np.searchsorted(sums, CHARACTERS_AT_ONCE)))
        yield slice(start, stop)
        start = stop


def _whole_groups(texts: Sequence[str], groups: Numbers) -> Iterator[Numbers]:
    """Rows of whole groups of two or more, as many groups together as fit."""
    order = np.argsort(groups, kind="stable").astype(np.int64)
    firsts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    ends = np.append(firsts, len(order))[1:]
    waiting: list[Numbers] = []
    characters = rows = 0
    for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
        if end - first < 2:
            continue
        waiting.append(order[first:end])
        characters += sum(len(texts[row]) for row in order[first:end].tolist())
        rows += end - first
        if characters >= CHARACTERS_AT_ONCE or rows >= TEXTS_AT_ONCE:
            yield np.concatenate(waiting)
            waiting, characters, rows = [], 0, 0
    if waiting:
        yield np.concatenate(waiting)


def _jaccard(shared: NDArray[Any], sizes: Numbers, others: Numbers) -> Similarities:
    union = sizes + others - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0).round(DIGITS)


def _shingled(texts: list[str]) -> tuple[NDArray[np.uint64], Numbers]:
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    counts = np.maximum(0, lengths - SIZE + 1)
    owners = np.repeat(np.arange(len(texts)), counts)
    firsts = np.arange(counts.sum()) + np.repeat(np.cumsum(lengths - counts) - (lengths - counts), counts)
    hashes: NDArray[np.uint64] = np.zeros(len(firsts), dtype=np.uint64)
    for place in range(SIZE):
        hashes = _mixed(hashes + codes[firsts + place] + GOLDEN)
    owned = (owners.astype(np.uint64) << HASH_BITS) | (hashes >> TEXT_BITS)
    distinct = pl.Series(owned).sort().to_numpy()
    distinct = distinct[np.concatenate([[True], distinct[1:] != distinct[:-1]])] if len(distinct) else distinct
    sizes = np.bincount((distinct >> HASH_BITS).astype(np.int64), minlength=len(texts)).astype(np.int64)
    return distinct & ((np.uint64(1) << HASH_BITS) - np.uint64(1)), sizes


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
    """splitmix64's finaliser, as in `curate.assignment`, for numpy."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
