"""What several gates ask of a row, worked out once: all that was seen, and whether the row is a safe redirect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.refusal import REFUSAL
from curate.rules.unsafe import request

if TYPE_CHECKING:
    import polars as pl

BEGINNING = 1_000
"""Characters in which a refusal is looked for; its pattern reaches some 600 beyond white space."""
DECLINING = (
    r"(?i)can(?:no|['’])?t|can\snot|won['’]t|will\snot|should\snot|shouldn['’]t|not\s(?:able|allowed|permitted"
    r"|programmed|comfortable|going|ethical|appropriate)|unable|refuse|decline|do\snot|don['’]t|inappropriate|unethical"
    r"|illegal"
)
"""One of these stands in whatever `REFUSAL` finds; few texts hold one at their beginning."""


def prepared(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with null texts emptied, and six more columns, in their order.

    asked: earlier turns and the question, a line each. seen: asked, and the answer: what a correction may take from.
    is_unsafe: a word of `unsafe.CATEGORIES` stands in asked. correction_declines, answer_declines: a refusal begins it.
    is_redirect: the question is unsafe, the answer was flagged, or the correction declines. Such a correction rightly
    keeps nothing of the answer, so the gates on how much was changed do not judge it.
    """
    import polars as pl

    texts = ("question", "answer", "correction")
    turns = pl.col("turns").cast(pl.List(pl.Struct({"role": pl.String, "text": pl.String})))
    earlier = turns.list.eval(pl.element().struct.field("text")).list.join("\n", ignore_nulls=True).fill_null("")
    rows = rows.with_columns(
        *[pl.col(name).cast(pl.String).fill_null("") for name in texts], pl.col("is_flagged").cast(pl.Boolean)
    )
    rows = rows.with_columns(pl.concat_str(earlier, "question", separator="\n").alias("asked"))
    return rows.with_columns(
        pl.concat_str("asked", "answer", separator="\n").alias("seen"),
        (request(pl.col("asked")) > 0).alias("is_unsafe"),
        declines(rows["correction"]).alias("correction_declines"),
        declines(rows["answer"]).alias("answer_declines"),
    ).with_columns(
        (pl.col("is_unsafe") | pl.col("is_flagged").fill_null(value=False) | pl.col("correction_declines")).alias(
            "is_redirect"
        )
    )


def declines(texts: pl.Series) -> pl.Series:
    """Whether each text begins as a refusal; polars finds the few that may, Python's regex decides on these."""
    import polars as pl

    beginnings = texts.str.head(BEGINNING)
    may = beginnings.str.contains(DECLINING)
    found = [bool(REFUSAL.match(text)) for text in beginnings.filter(may)]
    if not found:
        return pl.repeat(value=False, n=len(texts), dtype=pl.Boolean, eager=True)
    return pl.repeat(value=False, n=len(texts), dtype=pl.Boolean, eager=True).scatter(may.arg_true(), found)
