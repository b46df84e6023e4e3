"""Who gets which row: the same for ever, fair by weight, and moved as little as possible."""

import hashlib

import numpy as np
import pytest

from curate.assignment import assign, uniforms

IDS = [hashlib.blake2b(str(n).encode(), digest_size=16).hexdigest() for n in range(20_000)]
NAMES = ["small", "medium", "large"]
WEIGHTS = [1.0, 2.0, 5.0]


def names_of(ids, names=NAMES, weights=WEIGHTS, count=1, seed=42):
    return [[names[one] for one in row] for row in assign(ids, names, weights, count, seed)]


def test_shares_follow_the_weights():
    first = [row[0] for row in names_of(IDS)]
    for name, weight in zip(NAMES, WEIGHTS, strict=True):
        expected = weight / sum(WEIGHTS)
        assert first.count(name) / len(IDS) == pytest.approx(expected, abs=4 * (expected / len(IDS)) ** 0.5)


def test_each_row_gets_different_names():
    assert all(len(set(row)) == 2 for row in names_of(IDS[:500], count=2))


def test_another_row_moves_no_other():
    assert names_of(IDS[:100]) == names_of(IDS)[:100]


def test_the_order_of_rows_and_names_does_not_matter():
    turned = names_of(IDS[:200][::-1], NAMES[::-1], WEIGHTS[::-1])
    assert turned[::-1] == names_of(IDS[:200])


def test_a_new_name_moves_only_its_share():
    before, after = names_of(IDS), names_of(IDS, [*NAMES, "new"], [*WEIGHTS, 2.0])
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert all(row == ["new"] for row in moved)
    assert len(moved) / len(IDS) == pytest.approx(0.2, abs=0.012)


def test_no_rows_give_no_names():
    assert assign([], NAMES, WEIGHTS, 1, 42).shape == (0, 1)


def test_drawn_numbers_are_uniform_and_depend_on_id_purpose_and_seed():
    drawn = uniforms(IDS, "split", 1)
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    assert np.histogram(drawn, 10, (0, 1))[0].min() > 1800
    assert np.array_equal(drawn, uniforms(IDS, "split", 1))
    for other in (uniforms(IDS, "warm-up", 1), uniforms(IDS, "split", 2)):
        assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.03


def test_drawn_numbers_stay_what_they_were():
    assert uniforms(["0" * 32, "f" * 32], "split", 42).round(12).tolist() == [0.938038235535, 0.998578539678]
