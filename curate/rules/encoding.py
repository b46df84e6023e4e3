"""Whether a text survived its way through files and web pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl

DAMAGE = r"\u{FFFD}|\u{00C3}[\u{0080}-\u{00BF}\u{2018}-\u{203A}\u{20AC}]|\u{00E2}\u{20AC}|\u{00C2}[\u{0080}-\u{00BF}]"
"""Replacement characters, and UTF-8 that was read as Latin-1 or Windows-1252 (Ã©, â€™, Â )."""

CONTROL = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F]"


@rule(unit="share 0..1", version=1)
def damage(text: pl.Expr) -> pl.Expr:
    """Share of characters that are replaced, wrongly decoded or control characters; an empty text scores 0."""
    damaged = text.str.count_matches(f"{DAMAGE}|{CONTROL}")
    return (damaged / text.str.len_chars()).fill_nan(0.0)
