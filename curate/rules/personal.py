"""Marks texts that hold personal data: a tag, because a prompt about an address is still a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl

EMAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
PHONE = r"(?:\+[0-9]{1,3}[ .-]?)?\(?[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}(?-u:\b)"
CARD = r"(?-u:\b)(?:[0-9]{4}[ -]){3}[0-9]{4}(?-u:\b)"
SOCIAL_SECURITY = r"(?-u:\b)[0-9]{3}-[0-9]{2}-[0-9]{4}(?-u:\b)"


@rule(unit="places", version=1)
def data(text: pl.Expr) -> pl.Expr:
    """E-mail addresses, telephone, card and US social security numbers by their form; an empty text scores 0."""
    # apart: an address is searched from its @, which an alternative beside it would prevent
    return text.str.count_matches(EMAIL) + text.str.count_matches(f"{CARD}|{SOCIAL_SECURITY}|{PHONE}")
