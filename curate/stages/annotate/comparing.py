"""What the judge is asked: each correction against its answer, and the corrections of one pair against each other."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from annotators.replies import AXES
from curate.asking.chain import Chain, Outcome
from curate.ledger.journal import Ledger
from schemas.records import ComparisonTask, Turn

if TYPE_CHECKING:
    import polars as pl

ANSWER = ""
"""In the place of a correction's id: the answer itself."""
Comparison = tuple[str, str, bool]
"""Ids of two texts, and whether the second one is shown first."""
Preferences = Mapping[tuple[str, str], Mapping[str, float] | None]
"""Of two texts by their ids: on each axis -1..1, 1 where the first is better in both orders; None where unread."""
Rating = tuple[str, str, int]
"""What is rated, who rates, and the rating."""
PLAIN, SWAPPED = "as shown", "swapped"
READ_ROWS = 1_000


def comparisons(rows: "pl.DataFrame", *, is_between: bool) -> Iterator[tuple[Comparison, ComparisonTask]]:
    """Every comparison of some corrections with their pairs, in both orders; texts that are equal need none.

    rows: correction_id, pair_id, question, turns, answer, correction; those of a pair stand together. is_between: also
    the corrections of one pair against each other.
    """
    for group in rows.partition_by("pair_id", maintain_order=True):
        one = group.row(0, named=True)
        turns = tuple(Turn(turn["role"], turn["text"]) for turn in one["turns"])
        texts = dict(zip(group["correction_id"].to_list(), group["correction"].to_list(), strict=True))
        pairs: list[tuple[str, str]] = [(correction_id, ANSWER) for correction_id in texts]
        if is_between:
            pairs += combinations(sorted(texts), 2)
        known = texts | {ANSWER: one["answer"]}
        for first, second in pairs:
            if known[first] == known[second]:
                continue
            for is_swapped in (False, True):
                shown = (known[second], known[first]) if is_swapped else (known[first], known[second])
                yield (first, second, is_swapped), ComparisonTask(one["question"], *shown, turns)


def preferences(
    rows: "pl.DataFrame",
    judge: "Chain[ComparisonTask, dict[str, int]]",
    ledger: Ledger,
    ratings: list[Rating],
    *,
    is_between: bool,
) -> Preferences:
    """What the judge said of some corrections: the mean of both orders, None where one of them was not read.

    ratings: to these is added what it said on the whole in each order, so that its agreement with itself can be told.
    """
    found: dict[tuple[str, str], Mapping[str, float] | None] = {}
    for some in _blocks(rows):
        asked = dict(comparisons(some, is_between=is_between))
        outcomes = judge.outcomes(ledger, asked)
        for first, second, is_swapped in asked:
            if not is_swapped:
                plain, swapped = outcomes[first, second, False], outcomes[first, second, True]
                found[first, second] = _mean(plain, swapped)
                if plain.said is not None and swapped.said is not None:
                    unit = f"{first} {second}"
                    ratings += [(unit, PLAIN, plain.said["overall"]), (unit, SWAPPED, -swapped.said["overall"])]
    return found


def _mean(plain: Outcome[dict[str, int]], swapped: Outcome[dict[str, int]]) -> Mapping[str, float] | None:
    if plain.said is None or swapped.said is None:
        return None
    return {axis: (plain.said[axis] - swapped.said[axis]) / 2 for axis in AXES}


def _blocks(rows: "pl.DataFrame") -> "Iterable[pl.DataFrame]":
    """Some thousand rows at a time; the corrections of one pair are never parted."""
    import polars as pl

    pair = pl.col("pair_id").rle_id() // READ_ROWS
    return rows.with_columns(pair.alias("block")).partition_by("block", maintain_order=True)
