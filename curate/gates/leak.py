"""What only the annotator should have read: marks of templates and the words of instructions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from curate.gates.registry import Context, gate

if TYPE_CHECKING:
    import polars as pl

RUN = 8
"""Words in a row. Shorter runs of our principles ("if the question seeks to") occur in good corrections."""


@gate(unit="places", version=1, highest=0)
def marks(rows: pl.DataFrame, context: Context) -> pl.Series:
    """Marks of templates in the correction beyond those in question, turns and answer; case does not count.

    The marks of the context, and those of the training templates.
    """
    import polars as pl

    from curate.release.triples import LEFTOVERS

    known = re.compile(LEFTOVERS)
    own = sorted({mark.lower() for mark in context.marks if mark.strip() and not known.fullmatch(mark)})
    correction, seen = pl.col("correction").str.to_lowercase(), pl.col("seen").str.to_lowercase()
    may_hold = pl.col("correction").str.contains(LEFTOVERS)
    if own:
        may_hold = may_hold | correction.str.contains_any(own)
    counts = [
        (correction.str.count_matches(LEFTOVERS), seen.str.count_matches(LEFTOVERS)),
        *[(correction.str.count_matches(one, literal=True), seen.str.count_matches(one, literal=True)) for one in own],
    ]
    beyond = [(here.cast(pl.Int64) - there.cast(pl.Int64)).clip(lower_bound=0) for here, there in counts]
    return _where(rows, may_hold, pl.sum_horizontal(beyond))


@gate(unit="runs", version=1, highest=0)
def instructions(rows: pl.DataFrame, context: Context) -> pl.Series:
    """Different runs of 8 words of the instructions that stand in the correction but not in question, turns or answer.

    Case, white space and punctuation do not count. The time grows with the text, not with the instructions.
    """
    import polars as pl

    runs = instruction_runs(context.instructions)
    if not runs:
        return pl.repeat(0.0, rows.height, dtype=pl.Float64, eager=True)
    correction, seen = (_plain(pl.col(name)) for name in ("correction", "seen"))
    here, there = (
        text.str.extract_many(runs, overlapping=True).list.eval(pl.element().drop_nulls().unique())
        for text in (correction, seen)
    )
    return _where(rows, correction.str.contains_any(runs), here.list.set_difference(there).list.len())


def instruction_runs(texts: tuple[str, ...]) -> list[str]:
    """Every run of 8 words of each text, in plain form with a space at both ends, sorted."""
    import polars as pl

    plain = pl.Series("text", texts, dtype=pl.String).to_frame().select(_plain(pl.col("text"))).to_series()
    split = [text.split() for text in plain]
    return sorted({f" {' '.join(words[at : at + RUN])} " for words in split for at in range(len(words) - RUN + 1)})


def _plain(text: pl.Expr) -> pl.Expr:
    """Lower case, letters and digits alone, one space between words and at both ends."""
    import polars as pl

    inner = text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ").str.strip_chars(" ")
    return pl.concat_str(pl.lit(" "), inner, pl.lit(" "))


def _where(rows: pl.DataFrame, may: pl.Expr, count: pl.Expr) -> pl.Series:
    """The count on the few rows that may have one, 0 on all others."""
    import polars as pl

    candidates = rows.select(may).to_series()
    scores = pl.repeat(0.0, rows.height, dtype=pl.Float64, eager=True)
    if not candidates.any():
        return scores
    return scores.scatter(candidates.arg_true(), rows.filter(candidates).select(count.cast(pl.Float64)).to_series())
