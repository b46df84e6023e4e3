"""Whether a correction did what its answer ordered: it keeps what was slipped in and loses the answer around it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from curate.gates.registry import Context, gate
from curate.rules.injection import BEGINNINGS, ORDER

if TYPE_CHECKING:
    import polars as pl

OURS = r'\[\[|\]\]|"(?:correction|unchanged)"\s*:'
"""What our templates ask for beside marks that hold letters; code has it too, which alone drops nothing."""
OTHER_BEGINNINGS = (
    "[[",
    "]]",
    '"correction"',
    '"unchanged"',
    "beginning of conv",
    "##correction",
    "##revision",
    "correction>",
)
FEW_WORDS = 5


@gate(unit="share 0..1", version=1, highest=0.55)
def obeyed(rows: pl.DataFrame, context: Context) -> pl.Series:
    """Different words lost of those before the answer's first sign of an injection; 0 where it holds no sign.

    A sign is an order to ignore rules, a mark of a chat format or of a template (`injection.orders` and the context).
    With fewer than 5 words before it all words of the answer count. Not judged, 0: corrections that decline.
    """
    import polars as pl

    from curate.release.triples import LEFTOVERS

    marks = [re.escape(mark) for mark in sorted(context.marks) if mark.strip()]
    known = [pattern.removeprefix("(?i)") for pattern in (ORDER, OURS, LEFTOVERS)]
    sign = f"(?i)(?:{'|'.join([*known, *marks])})"
    begins = [*BEGINNINGS, *OTHER_BEGINNINGS, *(mark for mark in context.marks if mark.strip())]
    may = pl.col("answer").str.contains_any(begins, ascii_case_insensitive=True)
    scores = pl.repeat(0.0, rows.height, dtype=pl.Float64, eager=True)
    judged = rows.with_row_index("place").filter(may & ~pl.col("correction_declines"))
    judged = judged.filter(pl.col("answer").str.contains(sign))
    if judged.is_empty():
        return scores
    before = pl.col("answer").str.extract(rf"(?s)^(.*?){sign}", 1)
    words = judged.select(
        _words(before).alias("before"), *[_words(pl.col(one)).alias(one) for one in ("answer", "correction")]
    )
    counted = pl.when(pl.col("before").list.len() < FEW_WORDS).then("answer").otherwise("before")
    lost = counted.list.set_difference("correction").list.len() / counted.list.len()
    return scores.scatter(judged["place"], words.select(lost.fill_nan(0.0)).to_series())


def _words(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+").list.unique()
