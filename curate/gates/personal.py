"""Personal data that nobody gave: an annotator must not make up an address or repeat one it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.gates.registry import Context, gate
from curate.rules.personal import CARD, EMAIL, PHONE, SOCIAL_SECURITY

if TYPE_CHECKING:
    import polars as pl

MADE_UP = (
    r"@(?:[a-z0-9-]+\.)*(?:example|test|invalid|localhost)$|@(?:[a-z0-9-]+\.)*(?:example|email|domain|yourdomain"
    r"|company|yourcompany|mail)\.(?:com|org|net|edu)$"
    r"|^1?(?:123)?4567890$|^1?1234567890$|555(?:01[0-9]{2}|1234|5555)$|^(?:1234567812345678|1234567890123456|123456789)$"
)
"""Addresses of RFC 2606 and its like, telephone numbers of films (555-01xx) and counting: forms, not persons."""


@gate(unit="places", version=1, highest=0)
def introduced(rows: pl.DataFrame, _: Context) -> pl.Series:
    """Different e-mail addresses, telephone, card and US social security numbers that stand in the correction alone.

    Not in question, turns or answer; numbers are compared by their digits. Made-up ones such as ann@example.com or
    555-0123 are not counted.
    """
    import polars as pl

    may_hold = rows.select(
        pl.col("correction").str.contains(EMAIL)
        | pl.col("correction").str.contains(f"{CARD}|{SOCIAL_SECURITY}|{PHONE}")
    ).to_series()
    scores = pl.repeat(0.0, rows.height, dtype=pl.Float64, eager=True)
    if not may_hold.any():
        return scores
    few = rows.filter(may_hold)
    beyond = _found("correction").list.set_difference(_found("seen"))
    real = beyond.list.eval(pl.element().filter(~pl.element().str.contains(MADE_UP)))
    return scores.scatter(may_hold.arg_true(), few.select(real.list.len().cast(pl.Float64)).to_series())


def _found(name: str) -> pl.Expr:
    """Each address in lower case, each number as its digits, once."""
    import polars as pl

    text = pl.col(name)
    addresses = text.str.extract_all(EMAIL).list.eval(pl.element().str.to_lowercase())
    numbers = text.str.extract_all(f"{CARD}|{SOCIAL_SECURITY}|{PHONE}")
    digits = numbers.list.eval(pl.element().str.replace_all(r"[^0-9]", ""))
    return pl.concat_list(addresses, digits).list.unique()
