"""Near-duplicates by cosine similarity: greedy leaders, so every row is tied to a leader that itself is kept."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import MissingExtraError, ShapeError

Matrix = NDArray[np.float32]

BLOCK_ROWS = 4096
SCORE_DIGITS = 4
"""Similarities are told to this many digits: below it they depend on the machine's order of sums."""

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
NEGATION = re.compile(
    r"\b(?:not?|never|none|nobody|nothing|neither|nor|cannot|without|nicht|kein\w*|nie|pas|jamais|nunca)\b|n['’]t\b",
    re.I,
)


@dataclass(frozen=True)
class Leaders:
    """For each row the position of its leader (its own where it leads) and the cosine to it."""

    leader: NDArray[np.int64]
    similarity: NDArray[np.float64]


def leaders(vectors: Matrix, similarity_threshold: float) -> Leaders:
    """Greedy leaders in row order: a row follows the nearest earlier leader at or above the threshold, or leads.

    vectors: float32, shape (rows, dim), each of length 1. Exact: FAISS inner products against all leaders so far.
    Raises ShapeError for rows of another length (tolerance 1e-3), MissingExtraError without FAISS.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("dedup", "FAISS", "embed") from error
    check_unit_rows(vectors)
    rows, dim = vectors.shape
    index = faiss.IndexFlatIP(dim)
    positions = np.empty(0, dtype=np.int64)
    parts = []
    for start in range(0, rows, BLOCK_ROWS):
        block = np.ascontiguousarray(vectors[start : start + BLOCK_ROWS])
        if index.ntotal:
            scores, nearest = index.search(block, 1)
            earlier = Leaders(positions[nearest[:, 0]], scores[:, 0].astype(np.float64))
        else:
            earlier = Leaders(np.full(len(block), -1, dtype=np.int64), np.full(len(block), -2.0))
        decided = _lead_block(block, start, earlier, similarity_threshold)
        new = np.flatnonzero(decided.leader == np.arange(start, start + len(block)))
        index.add(block[new])
        positions = np.concatenate([positions, start + new])
        parts.append(decided)
    if not parts:
        return Leaders(positions, np.empty(0))
    return Leaders(np.concatenate([one.leader for one in parts]), np.concatenate([one.similarity for one in parts]))


def _lead_block(block: Matrix, start: int, earlier: Leaders, threshold: float) -> Leaders:
    """Decide the rows of one block, given the nearest leader of each in the blocks before."""
    gram = (block @ block.T).astype(np.float64)
    leader = np.arange(start, start + len(block), dtype=np.int64)
    similarity = np.ones(len(block), dtype=np.float64)
    new: list[int] = []
    for row in range(len(block)):
        score, chosen = float(earlier.similarity[row]), int(earlier.leader[row])
        if new:
            inside = gram[row, new]
            nearest = int(np.argmax(inside))
            if inside[nearest] > score:
                score, chosen = float(inside[nearest]), start + new[nearest]
        if score >= threshold:
            leader[row], similarity[row] = chosen, round(score, SCORE_DIGITS)
        else:
            new.append(row)
    return Leaders(leader, similarity)


def group_leaders(vectors: Matrix, threshold: float, texts: Sequence[str]) -> Leaders:
    """As `leaders` within one small group, where a row follows only a leader that says the same by its text."""
    check_unit_rows(vectors)
    gram = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    leader = np.arange(len(vectors), dtype=np.int64)
    similarity = np.ones(len(vectors), dtype=np.float64)
    kept: list[int] = []
    for row in range(len(vectors)):
        near = sorted((one for one in kept if gram[row, one] >= threshold), key=lambda one: (-gram[row, one], one))
        twin = next((one for one in near if says_the_same(texts[one], texts[row])), None)
        if twin is None:
            kept.append(row)
        else:
            leader[row], similarity[row] = twin, round(float(gram[row, twin]), SCORE_DIGITS)
    return Leaders(leader, similarity)


def says_the_same(one: str, other: str, shingle_floor: float = 0.5) -> bool:
    """Whether two near texts agree in what cosine does not see: numbers, count of negations, spelling.

    shingle_floor: lowest Jaccard similarity of the sets of 5-character shingles, 0..1. Two equal texts always agree.
    """
    if Counter(NUMBER.findall(one)) != Counter(NUMBER.findall(other)):
        return False
    if len(NEGATION.findall(one)) != len(NEGATION.findall(other)):
        return False
    return shingle_similarity(one, other) >= shingle_floor


def shingle_similarity(one: str, other: str, size: int = 5) -> float:
    """Jaccard similarity of the sets of character shingles of lower-cased texts; two empty texts score 1."""
    first, second = _shingles(one, size), _shingles(other, size)
    union = len(first | second)
    return len(first & second) / union if union else 1.0


def check_unit_rows(vectors: Matrix) -> None:
    """Raises ShapeError unless `vectors` is a matrix with rows of length 1."""
    if vectors.ndim != 2:
        raise ShapeError(f"vectors have {vectors.ndim} dimensions, not 2")
    lengths = np.linalg.norm(vectors, axis=1)
    if len(vectors) and float(np.abs(lengths - 1.0).max()) > 1e-3:
        raise ShapeError("a row of the vectors is not of length 1", do="normalise the embeddings")


def _shingles(text: str, size: int) -> set[str]:
    text = " ".join(text.lower().split())
    return {text[start : start + size] for start in range(max(1, len(text) - size + 1))} if text else set()
