"""Corrections that stop in the middle: a reply was cut, or a model ran out of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.gates.registry import Context, gate

if TYPE_CHECKING:
    import polars as pl

ENDED = r"[.!?…。！？।؟)\]}\"'”’`»*|>~_\p{Extended_Pictographic}]\s*$"
HANGING = (
    r"[,(\[{&–—]\s*$|\p{Ll}[*_]*:\s*$|[\p{L}\p{N}]-\s*$|[(\[][^()\[\]{}\n]*$|\n\s*(?:[-*•]|[0-9]{1,2}[.)])\s*$"
    r"|(?:^|\n)[ \t]*[\p{L}\"“][^\n]*\s(?:and|or|but|nor|the|an?|of|as|their|its|your|our|my|his|which|whose|because"
    r"|if|while|such|than|into|to|in|for|with|by|from|at|is|are|that)\s*$"
)
"""No text ends so: a comma, a colon, a bracket that stays open, the bare mark of a list's next item, or a joining word
in a line that is no item of a list."""
FENCE = "```"
NO_SENTENCE = r"^\s*(?:[-*•#|>]|[0-9]{1,3}[.)])|https?://\S*$"
LINE_WORDS = 4
"""A last line with fewer words is a name under a letter or an item."""
WINDOW = 1_000
"""Characters at the end in which an open bracket or line is looked for."""
KEPT_END = 24
"""Characters of the correction's end that are looked for in the answer."""


@gate(unit="0, 1 or 2", version=1, highest=1)
def cut(rows: pl.DataFrame, _: Context) -> pl.Series:
    """How surely the correction ends in the middle: 0 not, 1 its last sentence lacks an end, 2 certainly.

    Certainly: a code fence or a bracket stays open; it ends in a comma, a colon, a joining word or a bare list mark; or
    the words at its end stand in the answer and the sentence goes on there. An answer that does not end properly is no
    measure, nor is one with an open fence for fences. Verses, lists, tables and names under letters score 0.
    """
    import polars as pl

    answer, correction = (pl.col(name).str.strip_chars_end() for name in ("answer", "correction"))
    is_open = _odd_fences(correction) & ~_odd_fences(answer)
    hangs = correction.str.tail(WINDOW).str.contains(HANGING)
    is_measure = answer.str.contains(ENDED) & ~answer.str.tail(WINDOW).str.contains(HANGING)
    ends = rows.select(
        "answer",
        correction.alias("correction"),
        is_open.alias("is_open"),
        (is_measure & hangs).alias("hangs"),
        (is_measure & ~correction.str.contains(ENDED) & (correction != "")).alias("is_loose"),
    )
    loose = ends["is_loose"] & ~ends["is_open"] & ~ends["hangs"]
    certain = (ends["is_open"] | ends["hangs"]).cast(pl.Float64) * 2
    if not loose.any():
        return certain
    graded = ends.filter(loose).select(pl.when(_goes_on()).then(2.0).when(_is_prose()).then(1.0).otherwise(0.0))
    return certain.scatter(loose.arg_true(), graded.to_series())


def _odd_fences(text: pl.Expr) -> pl.Expr:
    return text.str.count_matches(FENCE, literal=True) % 2 == 1


def _goes_on() -> pl.Expr:
    """Whether the last words of the correction stand in the answer with more words of the same sentence behind them."""
    import polars as pl

    end = pl.col("correction").str.tail(KEPT_END)
    behind = pl.col("answer").str.splitn(end, 2).struct.field("field_1").fill_null("")
    return (end.str.len_chars() == KEPT_END) & behind.str.contains(r"^[ ,;]*[\p{L}\p{N}]")


def _is_prose() -> pl.Expr:
    """Whether the last line is a sentence among sentences: it has words, is no item, and most lines have an end."""
    import polars as pl

    lines = (
        pl.col("correction")
        .str.split("\n")
        .list.eval(pl.element().filter(pl.element().str.count_matches(r"\S+") >= LINE_WORDS))
    )
    ended = lines.list.eval(pl.element().str.contains(r"[.!?…。！？।؟:)\]\"”’*]\s*$")).list.eval(pl.element().sum())
    share = ended.list.first().fill_null(0) / pl.max_horizontal(lines.list.len() - 1, 1)
    is_alone = lines.list.len() <= 1
    last = pl.col("correction").str.split("\n").list.last()
    is_line = (last.str.count_matches(r"\S+") >= LINE_WORDS) & ~last.str.contains(NO_SENTENCE)
    return is_line & (is_alone | (share >= 0.5))
