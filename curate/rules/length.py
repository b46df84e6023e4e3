"""How long a text is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl


@rule(unit="characters", version=1)
def characters(text: pl.Expr) -> pl.Expr:
    """Characters (Unicode code points) after white space at both ends is cut; an empty text scores 0."""
    return text.str.strip_chars().str.len_chars()
