"""The passes together: one choice among the links of all, so that each twin stays."""

import polars as pl
import pytest

from curate.neighbors.passes import LINKS, Bounds, exact, followed, in_order, lexical, still_missed

BOUNDS = Bounds(0.95, 0.9, 0.8, 0.5, 2, 0.03)
LONG = "Sunlight meets the molecules of the air, which scatter blue light far more than they scatter red light."


def links(*rows: tuple[int, int, str, float]) -> pl.DataFrame:
    return pl.DataFrame([(row, twin, rule, 1.0, score, 0.9) for row, twin, rule, score in rows], LINKS, orient="row")


def chosen(found: pl.DataFrame) -> dict[int, tuple[int, str]]:
    return {row: (twin, rule) for row, twin, rule in found.select("row", "twin", "rule").iter_rows()}


def ordered(*pairs: tuple[str, str]) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "pair_id": [f"{number:032x}" for number in range(len(pairs))],
            "question": [question for question, _ in pairs],
            "answer": [answer for _, answer in pairs],
            "turns": pl.Series([[]] * len(pairs), dtype=pl.List(pl.Struct({"role": pl.String, "text": pl.String}))),
            "is_released": False,
        }
    )
    return in_order(frame)


def test_a_row_does_not_follow_one_that_falls_in_a_later_pass():
    found = followed(links((2, 1, "dedup.lexical", 0.99), (1, 0, "dedup.near", 0.9)), links())
    assert chosen(found) == {1: (0, "dedup.near")}


def test_a_row_that_is_near_to_two_follows_the_one_that_stays():
    both = links((2, 1, "dedup.lexical", 0.99), (1, 0, "dedup.near", 0.9), (2, 0, "dedup.near", 0.91))
    assert chosen(followed(both, links())) == {1: (0, "dedup.near"), 2: (0, "dedup.near")}


def test_equals_of_a_row_that_falls_are_led_to_its_twin():
    found = followed(links((1, 0, "dedup.near", 0.9)), links((3, 1, "dedup.exact", 1.0), (4, 2, "dedup.exact", 1.0)))
    assert chosen(found) == {1: (0, "dedup.near"), 3: (0, "dedup.near"), 4: (2, "dedup.exact")}


def test_a_pair_in_two_passes_is_told_by_the_first():
    found = followed(links((1, 0, "dedup.lexical", 0.9), (1, 0, "dedup.near", 0.99)), links())
    assert chosen(found) == {1: (0, "dedup.lexical")}


def test_no_links_choose_nothing():
    assert followed(links(), links()).is_empty()


def test_misses_of_rows_that_fall_are_not_told():
    misses = links((2, 1, "", 0.89), (3, 0, "", 0.88), (3, 2, "", 0.87)).rename({"rule": "blocked_by"})
    assert still_missed(misses, links((1, 0, "dedup.near", 0.9)))["row"].to_list() == [3]


@pytest.mark.parametrize(
    ("other", "falls"),
    [
        (LONG.replace("molecules", "molecuels"), True),
        (f"Sure! {LONG}", True),
        (LONG.replace("blue", "green"), False),
        (LONG.replace("meets", "does not meet"), False),
        (LONG.replace("the molecules", "the 12 molecules"), False),
    ],
)
def test_the_lexical_pass_sees_what_is_exchanged(other, falls):
    pairs = ordered(("Why is the sky blue?", LONG), ("Why is the sky blue?", other))
    assert lexical(pairs, BOUNDS).height == falls


def test_equal_texts_of_other_turns_are_not_exact_duplicates():
    pairs = ordered(("And why?", LONG), ("And why?", LONG), ("And why?", LONG.upper()))
    turned = pairs.with_columns(
        turns=pl.when(pl.col("row") == 1).then(pl.lit([{"role": "user", "text": "Hm."}])).otherwise("turns")
    )
    assert chosen(exact(turned)) == {2: (0, "dedup.exact")}
