"""Marks texts that hold personal data: a tag, because a prompt about an address is still a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl

EMAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
PHONE = r"(?:\+\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b"
CARD = r"\b(?:\d{4}[ -]){3}\d{4}\b"
SOCIAL_SECURITY = r"\b\d{3}-\d{2}-\d{4}\b"


@rule(unit="places", version=1)
def data(text: pl.Expr) -> pl.Expr:
    """E-mail addresses, telephone, card and US social security numbers by their form; an empty text scores 0."""
    return text.str.count_matches(f"{EMAIL}|{CARD}|{SOCIAL_SECURITY}|{PHONE}")
