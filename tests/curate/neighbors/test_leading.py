"""Greedy leaders: those of a plain loop in float64, whatever finds the candidates, in blocks of any size."""

import math

import numpy as np
import pytest

from curate.neighbors.cosine import cosines
from curate.neighbors.folding import Fold, fold_for
from curate.neighbors.kept import CellsKept, FaissKept, TorchKept
from curate.neighbors.leading import Join, Leaders, lead, nearest_of
from schemas.errors import ShapeError

BACKENDS = ("torch", "two devices", "half", "faiss")


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(rows: int, centres: int, seed: int = 0) -> np.ndarray:
    """Rows around centres, in 48 dimensions of which the first count most, as in real embeddings."""
    random = np.random.default_rng(seed)
    scales = 1.0 / np.arange(1, 49) ** 0.5
    middle = random.normal(size=(centres, 48)) * scales
    return unit(middle[random.integers(0, centres, rows)] + 0.2 * random.normal(size=(rows, 48)) * scales)


def kept(backend: str, dimensions: int):
    if backend == "faiss":
        return FaissKept(dimensions)
    precision = "float16" if backend == "half" else "float32"
    return TorchKept(dimensions, ["cpu", "cpu"] if backend == "two devices" else ["cpu"], precision)


def led(vectors, threshold, backend="torch", *, fold=None, floor=None, **join) -> Leaders:
    width = vectors.shape[1] if fold is None else fold.dimensions
    return lead(vectors, Join(threshold, floor or threshold, fold, **join), kept(backend, width))


def by_plain_loop(vectors: np.ndarray, threshold: float, floor: float | None = None) -> Leaders:
    """Each row against every leader before it, one after the other, in float64."""
    floor = threshold if floor is None else floor
    found = Leaders.alone(0, len(vectors))
    leading: list[int] = []
    for row in range(len(vectors)):
        exact = vectors[leading].astype(np.float64) @ vectors[row].astype(np.float64)
        scores = exact.round(6).tolist()
        best = max(scores, default=-2.0)
        if best >= floor:
            nearest = leading[scores.index(best)]
            found.nearest[row], found.similarity[row] = nearest, best
        if best >= threshold:
            found.leader[row] = nearest
        else:
            leading.append(row)
    return found


def assert_same(one: Leaders, other: Leaders) -> None:
    assert one.leader.tolist() == other.leader.tolist()
    assert one.nearest.tolist() == other.nearest.tolist()
    assert np.array_equal(one.similarity, other.similarity, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("threshold", [0.7, 0.9, 0.95])
def test_leaders_are_those_of_a_plain_loop(backend, threshold):
    vectors = clustered(1500, 60)
    assert_same(led(vectors, threshold, backend), by_plain_loop(vectors, threshold))


@pytest.mark.parametrize("backend", ["torch", "half"])
@pytest.mark.parametrize("block_rows", [1, 37, 1024, 5000])
def test_neither_folds_nor_blocks_change_the_result(backend, block_rows):
    vectors = clustered(1200, 40)
    plain = by_plain_loop(vectors, 0.9, 0.8)
    for count in (1, 8, 24, 48):
        directions = np.linalg.qr(np.random.default_rng(count).normal(size=(48, count)))[0].astype(np.float32)
        found = led(vectors, 0.9, backend, fold=Fold(directions), floor=0.8, block_rows=block_rows)
        assert_same(found, plain)


def test_a_bound_is_never_below_the_cosine():
    vectors = clustered(600, 20)
    fold = fold_for(vectors, 0.9)
    assert fold is not None
    assert fold.dimensions < 48
    bound = fold(vectors).astype(np.float64) @ fold(vectors).astype(np.float64).T
    assert (bound - vectors.astype(np.float64) @ vectors.astype(np.float64).T).min() > -5e-5


def test_the_nearest_leader_below_the_threshold_is_told_down_to_the_floor():
    vectors = clustered(800, 200)
    found = led(vectors, 0.95, floor=0.85)
    assert_same(found, by_plain_loop(vectors, 0.95, 0.85))
    below = found.is_leader & (found.nearest >= 0)
    assert below.any()
    assert ((found.similarity[below] >= 0.85) & (found.similarity[below] < 0.95)).all()


def test_followers_are_near_to_a_leader_and_no_two_leaders_are_near():
    vectors = clustered(2000, 30)
    found = led(vectors, 0.9)
    assert (found.leader[found.leader] == found.leader).all()
    followers = np.flatnonzero(~found.is_leader)
    assert (cosines(vectors, followers, found.leader[followers]) >= 0.9).all()
    leaders = np.flatnonzero(found.is_leader)
    one, other = (leaders[places] for places in np.triu_indices(len(leaders), 1))
    assert (cosines(vectors, one, other) < 0.9).all()


def test_a_killed_join_goes_on_to_the_same_result():
    vectors = clustered(1500, 60)
    decided: list[Leaders] = []

    def tell(so_far: Leaders) -> None:
        decided.append(Leaders(so_far.leader.copy(), so_far.nearest.copy(), so_far.similarity.copy()))

    join = Join(0.9, 0.85, block_rows=200)
    whole = lead(vectors, join, TorchKept(48), tell=tell)
    for done in decided:
        assert_same(lead(vectors, join, TorchKept(48), done), whole)


@pytest.mark.parametrize("backend", BACKENDS)
def test_seeds_lead_even_where_they_are_near_to_each_other(backend):
    vectors = np.repeat(unit(np.eye(3, 8)), 2, axis=0)
    found = led(vectors, 0.9, backend, seeds=3)
    assert found.leader.tolist() == [0, 1, 2, 2, 4, 4]


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_near_rows_than_faiss_gives_at_first_are_all_seen(backend):
    vectors = np.repeat(unit(np.ones((1, 8))), 300, axis=0)
    found = led(np.concatenate([vectors, vectors]), 0.9, backend, seeds=300)
    assert found.leader[300:].tolist() == [0] * 300


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_nearest_of_other_rows(backend):
    others, rows = clustered(50, 50, 1), clustered(400, 50, 1)
    found = nearest_of(rows, others, Join(0.9, 0.9), kept(backend, 48))
    exact = (rows.astype(np.float64) @ others.astype(np.float64).T).round(6)
    expected = np.where(exact.max(axis=1) >= 0.9, exact.argmax(axis=1), -1)
    assert found.leader.tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 10


def test_a_pair_at_the_threshold_is_near():
    vectors = np.eye(2, 4, dtype=np.float32)
    assert led(np.concatenate([vectors, vectors]), 1.0).leader.tolist() == [0, 1, 0, 1]


def test_equal_rows_are_near_at_threshold_1_though_float32_rounds():
    vectors = clustered(50, 50)
    assert led(np.concatenate([vectors, vectors]), 1.0).leader.tolist() == [*range(50), *range(50)]


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_and_one_row_lead_themselves(rows, backend):
    found = led(np.eye(rows, 4, dtype=np.float32), 0.9, backend)
    assert found.leader.tolist() == list(range(rows))
    assert fold_for(np.eye(rows, 4, dtype=np.float32), 0.9) is None


@pytest.mark.parametrize("value", [0.9, math.nan])
def test_rows_of_another_length_are_refused(value):
    with pytest.raises(ShapeError, match="not of length 1"):
        led(np.full((2, 4), value, dtype=np.float32), 0.9)


def test_a_cosine_depends_on_its_two_rows_alone():
    vectors = clustered(5000, 100)
    rows, others = np.arange(4999), np.arange(1, 5000)
    turned = cosines(vectors, rows[::-1].copy(), others[::-1].copy())[::-1]
    assert np.array_equal(cosines(vectors, rows, others), turned)
    assert np.array_equal(cosines(vectors, rows, others), cosines(vectors, others, rows))


def test_cells_find_most_followers():
    vectors = clustered(6000, 300)
    exact = led(vectors, 0.9)
    found = lead(vectors, Join(0.9, 0.9), CellsKept(vectors, 64))
    assert (~found.is_leader).sum() >= 0.99 * (~exact.is_leader).sum()
    followers = np.flatnonzero(~found.is_leader)
    assert (cosines(vectors, followers, found.leader[followers]) >= 0.9).all()
