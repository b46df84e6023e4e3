"""Whether a text is made of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl

WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|\p{L}[\p{L}\p{M}'’]*"
"""A run of letters; scripts that are written without spaces count each character."""


@rule(unit="share 0..1", version=1)
def share(text: pl.Expr) -> pl.Expr:
    """Share of letters among characters that are not white space; an empty text scores 0."""
    characters, spaces = text.str.len_chars(), text.str.count_matches(r"\s")
    others = text.str.count_matches(r"[^\p{L}\s]")  # counted instead of letters: most characters are letters
    return ((characters - spaces - others) / (characters - spaces)).fill_nan(0.0)


@rule(unit="words", version=1)
def words(text: pl.Expr) -> pl.Expr:
    """Words, numbers not counted; an empty text scores 0."""
    return text.str.count_matches(WORD)
