"""Refusals of what was fine: a correction that declines teaches an Aligner to decline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.gates.registry import Context, gate

if TYPE_CHECKING:
    import polars as pl

HONEST = (
    r"(?i)\b(?:do\snot\shave|don['’]t\shave|have\sno|lack)\s(?:[a-z'’]+[\s-]){0,4}(?:access|ability|capability|information"
    r"|knowledge|feelings|emotions|experiences?|opinions|body)\b"
    r"|\b(?:cannot|can['’]t|not\sable\sto|unable\sto)\s(?:access|browse|predict|see|hear|feel|remember)\b|\breal[-\s]time\b"
)
"""That a model lacks means or a body is what an honest correction says; it declines nothing."""
FIRST_SENTENCES = 300


@gate(unit="0, 0.5 or 1", version=1, highest=0.5)
def needless(rows: pl.DataFrame, _: Context) -> pl.Series:
    """1 where the correction begins as a refusal, the answer does not, and a critic found the answer harmless.

    0.5 where there was no critique and no word of harm (`unsafe.request`) stands in the question or an earlier turn:
    few harmful requests hold one of these words, so this alone drops nothing by default. Saying that a model has no
    access, body or knowledge is not counted. English.
    """
    import polars as pl

    fine = pl.when(pl.col("is_flagged").is_null()).then((~pl.col("is_unsafe")).cast(pl.Float64) / 2)
    is_honest = pl.col("correction").str.head(FIRST_SENTENCES).str.contains(HONEST)
    declines = pl.col("correction_declines") & ~pl.col("answer_declines") & ~is_honest
    score = pl.when(declines).then(fine.otherwise((~pl.col("is_flagged")).cast(pl.Float64))).otherwise(0.0)
    return rows.select(score.alias("score")).to_series()
