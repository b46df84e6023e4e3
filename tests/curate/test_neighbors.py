"""Greedy leaders: equal to a plain loop, each follower tied to a kept leader, guards against what cosine cannot see."""

import numpy as np
import pytest

from curate.neighbors import BLOCK_ROWS, group_leaders, leaders, says_the_same, shingle_similarity
from schemas.errors import ShapeError


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(rows: int, centres: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    middle = random.normal(size=(centres, 48))
    return unit(middle[random.integers(0, centres, rows)] + 0.2 * random.normal(size=(rows, 48)))


def by_plain_loop(vectors: np.ndarray, threshold: float) -> list[int]:
    exact = vectors.astype(np.float64)
    kept, found = [], []
    for row in range(len(exact)):
        scores = exact[kept] @ exact[row] if kept else np.array([-1.0])
        best = int(np.argmax(scores))
        if kept and scores[best] >= threshold:
            found.append(kept[best])
        else:
            kept.append(row)
            found.append(row)
    return found


@pytest.mark.parametrize("threshold", [0.7, 0.9, 0.95])
def test_leaders_are_those_of_a_plain_loop(threshold):
    vectors = clustered(1500, 60)
    assert leaders(vectors, threshold).leader.tolist() == by_plain_loop(vectors, threshold)


def test_leaders_reach_over_blocks():
    vectors = clustered(BLOCK_ROWS + 700, 40)
    assert leaders(vectors, 0.9).leader.tolist() == by_plain_loop(vectors, 0.9)


def test_a_follower_is_tied_to_a_row_that_leads_itself():
    vectors = clustered(2000, 30)
    found = leaders(vectors, 0.9)
    assert (found.leader[found.leader] == found.leader).all()
    exact = np.einsum("ij,ij->i", vectors, vectors[found.leader])
    assert np.allclose(exact, found.similarity, atol=1e-4)


def test_a_pair_at_the_threshold_is_near():
    vectors = np.eye(2, 4, dtype=np.float32)
    assert leaders(np.concatenate([vectors, vectors]), 1.0).leader.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_and_one_row_lead_themselves(rows):
    assert leaders(np.eye(rows, 4, dtype=np.float32), 0.9).leader.tolist() == list(range(rows))


def test_rows_of_another_length_are_refused():
    with pytest.raises(ShapeError, match="not of length 1"):
        leaders(np.full((2, 4), 0.9, dtype=np.float32), 0.9)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("It is 30 metres tall.", "It is 30 metres tall!", True),
        ("It is 30 metres tall.", "It is 31 metres tall.", False),
        ("You can take it.", "You cannot take it.", False),
        ("You should do it.", "You shouldn't do it.", False),
        ("Boil it for six minutes.", "Fry the onions until they are soft.", False),
        ("", "", True),
        ("a", "a", True),
    ],
)
def test_numbers_negations_and_spelling_must_agree(one, other, same):
    assert says_the_same(one, other) is same
    assert says_the_same(other, one) is same


def test_shingles_of_equal_and_of_foreign_texts():
    assert shingle_similarity("Hello  World", "hello world") == 1.0
    assert shingle_similarity("abcdefgh", "stuvwxyz") == 0.0


def test_a_group_follows_only_where_the_text_agrees():
    vectors = np.repeat(np.eye(1, 4, dtype=np.float32), 3, axis=0)
    texts = ["It is 30 metres tall.", "It is 31 metres tall.", "It is 30 metres tall"]
    assert group_leaders(vectors, 0.9, texts).leader.tolist() == [0, 1, 0]
