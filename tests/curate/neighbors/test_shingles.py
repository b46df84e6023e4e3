"""Sets of shingles: the Jaccard similarity of plain Python sets; pairs of a group, candidates by MinHash, who follows."""

import numpy as np
import pytest

from curate.neighbors.following import follow
from curate.neighbors.shingles import alike, candidates, similarity

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "the quick brown fox jumps over a lazy dog",
    "the quick brown fox",
    "",
    "",
    "fox",
    "fox",
    "dogs",
    "日本語のテキストです",
    "日本語のテキストでした",
    "aaaaaaaaaaaaaaaa",
    "😀😀😀😀😀😀 the lazy dog",
]


def plain_set(text: str) -> set[str]:
    return {text[start : start + 5] for start in range(max(1, len(text) - 4))} if text else set()


def plain(one: str, other: str) -> float:
    union = plain_set(one) | plain_set(other)
    return round(len(plain_set(one) & plain_set(other)) / len(union), 6) if union else 1.0


def test_similarities_are_those_of_plain_sets():
    rows, others = (places.ravel() for places in np.indices((len(TEXTS), len(TEXTS))))
    found = similarity(TEXTS, rows, others)
    assert found.tolist() == [plain(TEXTS[one], TEXTS[other]) for one, other in zip(rows, others, strict=True)]


@pytest.mark.parametrize("floor", [0.01, 0.5, 1.0])
def test_alike_pairs_are_all_those_of_one_group(floor):
    groups = np.array([0, 0, 1, 1, 1, 0, 0, 2, 2, 2, 3, 3])
    rows, others, found_similarity = alike(TEXTS, groups, floor)
    found = {(int(row), int(other)): value for row, other, value in zip(rows, others, found_similarity, strict=True)}
    expected = {
        (row, other): plain(TEXTS[row], TEXTS[other])
        for row in range(len(TEXTS))
        for other in range(row)
        if groups[row] == groups[other] and plain(TEXTS[row], TEXTS[other]) >= floor and TEXTS[row]
    }
    assert found == expected


def test_no_texts_are_alike_to_none():
    assert [len(part) for part in alike([], np.empty(0, dtype=np.int64), 0.5)] == [0, 0, 0]
    assert [len(part) for part in candidates([])] == [0, 0]
    assert [len(part) for part in candidates(["", ""])] == [0, 0]


def test_nearly_equal_texts_are_candidates_and_foreign_ones_are_not():
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghijklmnop"), 6)) for _ in range(2000)]
    texts = [" ".join(random.choice(words, 40)) for _ in range(300)]
    edited = [text.replace(text[100:104], "wxyz") for text in texts]
    rows, others = candidates(texts + edited)
    found = set(zip(rows.tolist(), others.tolist(), strict=True))
    assert sum((300 + row, row) in found for row in range(300)) >= 297
    assert len(found) < 320


def test_a_row_follows_the_nearest_earlier_row_that_stays():
    rows, earlier = np.array([1, 2, 2, 3, 3]), np.array([0, 0, 1, 1, 2])
    assert follow(rows, earlier, np.array([0.9, 0.8, 0.99, 0.95, 0.9]), 4).tolist() == [-1, 0, 0, -1]


def test_of_equally_near_rows_the_first_is_followed():
    assert follow(np.array([2, 2]), np.array([1, 0]), np.array([0.9, 0.9]), 3).tolist() == [-1, -1, 0]
