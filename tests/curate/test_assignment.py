"""Who gets which row: the same for ever, fair by weight, and moved as little as possible."""

import hashlib

import numpy as np
import polars as pl
import pytest

from curate.assignment import assign, is_assigned, uniforms

IDS = [hashlib.blake2b(str(n).encode(), digest_size=16).hexdigest() for n in range(20_000)]
ROWS = pl.Series(IDS)
NAMES = ["small", "medium", "large"]
WEIGHTS = [1.0, 2.0, 5.0]


def names_of(ids, names=NAMES, weights=WEIGHTS, count=1, seed=42):
    return [[names[one] for one in row] for row in assign(pl.Series(ids), names, weights, count, seed)]


def test_shares_follow_the_weights():
    first = [row[0] for row in names_of(IDS)]
    for name, weight in zip(NAMES, WEIGHTS, strict=True):
        expected = weight / sum(WEIGHTS)
        assert first.count(name) / len(IDS) == pytest.approx(expected, abs=4 * (expected / len(IDS)) ** 0.5)


def test_each_row_gets_different_names():
    assert all(len(set(row)) == 2 for row in names_of(IDS[:500], count=2))


def test_whether_a_name_is_assigned_is_what_the_lists_say():
    for count in (1, 2, 3):
        lists = assign(ROWS, NAMES, WEIGHTS, count, 42)
        told = is_assigned(ROWS, NAMES, WEIGHTS, count, 42)
        assert all(lists.list.contains(number).equals(told[str(number)]) for number in range(len(NAMES)))


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
    assert assign(pl.Series([], dtype=pl.String), NAMES, WEIGHTS, 1, 42).is_empty()


def test_drawn_numbers_are_uniform_and_depend_on_id_purpose_and_seed():
    drawn = uniforms(ROWS, "split", 1)
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    assert np.histogram(drawn, 10, (0, 1))[0].min() > 1800
    assert drawn.equals(uniforms(ROWS, "split", 1))
    for other in (uniforms(ROWS, "warm-up", 1), uniforms(ROWS, "split", 2)):
        assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.03


def test_drawn_numbers_stay_what_they_were():
    assert uniforms(pl.Series(["0" * 32, "f" * 32]), "split", 42).round(12).to_list() == [
        0.938038235535,
        0.998578539678,
    ]
