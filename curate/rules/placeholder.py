"""Whether a text is a form that nobody filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl

LEFTOVER = (
    r"(?i)\[(?:insert|your|enter|add)\b[^\]\n]{0,40}\]|<(?:insert|your)\b[^>\n]{0,40}>|\{\{ ?\w{1,30} ?\}\}"
    r"|lorem ipsum\b.*"
)


@rule(unit="share 0..1", version=1)
def share(text: pl.Expr) -> pl.Expr:
    """Share of characters that wait to be filled in ("[INSERT TOPIC]", "{{name}}") or are dummy; empty scores 0."""
    rest = text.str.replace_all(LEFTOVER, "").str.len_bytes()
    return (1.0 - rest / text.str.len_bytes()).fill_nan(0.0)
