"""Whether a text says the same again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl

FEWEST_WORDS = 20
"""Below this a repeated word is style ("no, no, no"), not a fault."""


@rule(unit="share 0..1", version=1)
def word_share(text: pl.Expr) -> pl.Expr:
    """Share of words that occurred before in the same text; below 20 words a text scores 0."""
    import polars as pl

    words = text.str.to_lowercase().str.split(" ")
    repeated = 1.0 - words.list.n_unique() / words.list.len()
    return pl.when(words.list.len() < FEWEST_WORDS).then(0.0).otherwise(repeated)
