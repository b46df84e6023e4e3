"""How much of an answer its correction changes, and how much of it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.gates.registry import Context, gate

if TYPE_CHECKING:
    import polars as pl

COMPARED = 10_000
"""Characters of each text that are compared: the cost grows with their product, 3 ms for two texts of these."""
SHORT = 100
"""Characters; where one text has fewer, "8" for "7" is an edit although nothing stays."""
FEW_WORDS = 10

COMMON_WORDS = (
    "1", "10", "2", "3", "4", "5", "6", "7", "8", "9", "a", "about", "all", "also", "an", "and", "any", "are", "as",
    "at", "be", "been", "before", "best", "between", "but", "by", "can", "could", "different", "do", "each", "few",
    "first", "for", "from", "has", "have", "help", "here", "how", "however", "i", "if", "important", "in",
    "including", "into", "is", "it", "its", "just", "know", "let", "like", "m", "make", "many", "may", "me", "more",
    "most", "my", "need", "new", "no", "not", "of", "on", "one", "or", "other", "our", "out", "over", "people",
    "provide", "re", "s", "should", "so", "some", "such", "sure", "t", "take", "than", "that", "the", "their",
    "them", "then", "there", "these", "they", "this", "through", "time", "to", "up", "use", "used", "using", "was",
    "way", "we", "well", "what", "when", "where", "which", "while", "who", "will", "with", "would", "you", "your",
)  # fmt: skip
"""Words that stand in most English answers of twelve models (AlpacaEval), whatever was asked."""


@gate(unit="share 0..1", version=1, highest=0.95)
def share(rows: pl.DataFrame, _: Context) -> pl.Series:
    """Characters put in, taken out or replaced (Levenshtein), of the longer of answer and correction.

    Of each text the first 10,000 characters are compared. Not judged, 0: safe redirects, answers that decline, and
    pairs of which one text has fewer than 100 characters. Exact, in C++ over all cores; 120 µs of CPU for 1,500 each.
    """
    import numpy as np
    import polars as pl
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    shorter = pl.min_horizontal(pl.col("answer").str.len_chars(), pl.col("correction").str.len_chars())
    is_judged = rows.select(~pl.col("is_redirect") & ~pl.col("answer_declines") & (shorter >= SHORT)).to_series()
    scores = pl.repeat(0.0, rows.height, dtype=pl.Float64, eager=True)
    judged = rows.filter(is_judged)
    if judged.is_empty():
        return scores
    answers, corrections = (judged[name].str.head(COMPARED).to_list() for name in ("answer", "correction"))
    found = cpdist(answers, corrections, scorer=Levenshtein.normalized_distance, dtype=np.float64, workers=-1)
    return scores.scatter(is_judged.arg_true(), pl.Series(found))


@gate(unit="share 0..1", version=1, lowest=0.1, unchanged=1)
def kept(rows: pl.DataFrame, _: Context) -> pl.Series:
    """Different words of the answer, very common English ones apart, that stand in the correction as well.

    Low where the question was answered afresh. Case does not count. Not judged, 1: safe redirects, answers that
    decline, and pairs of which one text has fewer than 10 such words.
    """
    import polars as pl

    words = rows.select("is_redirect", "answer_declines", _content("answer"), _content("correction"))
    in_answer, in_both = (
        found.list.len() for found in (pl.col("answer"), pl.col("answer").list.set_intersection("correction"))
    )
    fewer = pl.min_horizontal(in_answer, pl.col("correction").list.len())
    is_judged = ~pl.col("is_redirect") & ~pl.col("answer_declines") & (fewer >= FEW_WORDS)
    return words.select(pl.when(is_judged).then(in_both / in_answer).otherwise(1.0)).to_series()


def _content(name: str) -> pl.Expr:
    import polars as pl

    words = pl.col(name).str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+").list.unique()
    return words.list.set_difference(pl.lit(pl.Series([list(COMMON_WORDS)])))
