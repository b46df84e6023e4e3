"""How long a correction is: nothing at all, or out of proportion to its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.gates.registry import Context, gate

if TYPE_CHECKING:
    import polars as pl

SHORT = 100
"""Characters; below, proportions mean nothing: "Yes" may rightly become a sentence."""


@gate(unit="characters", version=1, lowest=1, unchanged=1)
def characters(rows: pl.DataFrame, _: Context) -> pl.Series:
    """Code points of the correction without white space at both ends; an empty one scores 0, a copy 1."""
    return rows["correction"].str.strip_chars().str.len_chars()


@gate(unit="ratio", version=1, lowest=0.1, highest=15, unchanged=1)
def ratio(rows: pl.DataFrame, _: Context) -> pl.Series:
    """Characters of the correction to those of the answer; a text under 100 characters counts as 100.

    A safe redirect may be as short as it likes: it scores 1 at least. What answers a refusal may be as long: 1 at most.
    """
    import polars as pl

    correction, answer = (
        pl.max_horizontal(pl.col(name).str.len_chars(), SHORT).cast(pl.Float64) for name in ("correction", "answer")
    )
    found = correction / answer
    return rows.select(
        pl.when("is_redirect")
        .then(pl.max_horizontal(found, 1.0))
        .when("answer_declines")
        .then(pl.min_horizontal(found, 1.0))
        .otherwise(found)
    ).to_series()
