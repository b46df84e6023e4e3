"""What in a text is written for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl

LINK = r"(?i)\b(?:https?://|www\.)\S+"


@rule(unit="share 0..1", version=1)
def link_share(text: pl.Expr) -> pl.Expr:
    """Share of characters that belong to web addresses; an empty text scores 0."""
    rest = text.str.replace_all(LINK, "").str.len_bytes()
    return (1.0 - rest / text.str.len_bytes()).fill_nan(0.0)
