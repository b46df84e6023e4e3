"""What two texts must agree in beside a cosine, and which of two texts is better made: column expressions.

Cosine alone calls "30 metres" and "31 metres", "can" and "cannot" the same; these see the difference.
"""

import polars as pl
from rapidfuzz.distance import OSA

NUMBER = r"\d+(?:[.,]\d+)*"
NEGATION = (
    r"(?i)(?-u:\b)(?:not?|never|none|nobody|nothing|neither|nor|cannot|without|nicht|kein[a-z]*|nie|pas|jamais|nunca)"
    r"(?-u:\b)|n['’]t(?-u:\b)"
)
WORD = r"[\p{L}\p{M}]+(?:['’-][\p{L}\p{M}]+)*"
MOST_COMPARED = 16
"""Exchanged words among which misspelt ones are looked for: texts that differ in more are rewritten, not edited."""

TERMINAL = r"[.!?…。！？:;)\]}\"'”’`»*|>]\s*$"


def numbers(text: pl.Expr) -> pl.Expr:
    """All numbers of a text, sorted and joined by spaces; equal where two texts hold the same numbers as often."""
    return text.str.extract_all(NUMBER).list.sort().list.join(" ")


def negations(text: pl.Expr) -> pl.Expr:
    """Count of negating words: English, some German, French and Spanish."""
    return text.str.count_matches(NEGATION)


def words(text: pl.Expr) -> pl.Expr:
    """The distinct words of a text; numbers are not words."""
    return text.str.extract_all(WORD).list.unique()


def exchanged_words(one: pl.Series, other: pl.Series) -> pl.Series:
    """How many words of one text stand for others in the other: 0 where words were only added, left out or misspelt.

    one, other: lists of distinct words, as `words` gives them. A word is misspelt where one letter is added, left out,
    replaced or swapped with its neighbour.
    """
    frame = pl.DataFrame({"one": one, "other": other}).select(
        left=pl.col("one").list.set_difference("other"), right=pl.col("other").list.set_difference("one")
    )
    fewer = frame.select(pl.min_horizontal(pl.col("left").list.len(), pl.col("right").list.len()))["left"]
    counts = fewer.to_list()
    is_small = (fewer > 0) & (fewer <= MOST_COMPARED)
    for place in is_small.arg_true().to_list():
        counts[place] = _not_misspelt(frame["left"][place].to_list(), frame["right"][place].to_list())
    return pl.Series("exchanged", counts, dtype=pl.Int64)


def _not_misspelt(left: list[str], right: list[str]) -> int:
    rest = sorted(right)
    unmatched = 0
    for word in sorted(left):
        alike = next((other for other in rest if OSA.distance(word, other, score_cutoff=1) <= 1), None)
        if alike is None:
            unmatched += 1
        else:
            rest.remove(alike)
    return min(unmatched, len(rest))


def form(text: pl.Expr) -> pl.Expr:
    """How well a text is made, 0..1: a quarter each for spacing, case, an end and undamaged letters.

    Of two texts that say the same the better made one stays. An empty text scores 1/4 or more; it says nothing.
    """
    letters = text.str.count_matches(r"[A-Za-z]")
    capitals = text.str.count_matches(r"[A-Z]")
    checks = (
        ~text.str.contains(r"^\s|\s$|[^\S\n]{2,}|\n{4,}"),
        (capitals <= letters // 2) & text.str.contains(r"^[^a-z]"),
        text.str.contains(TERMINAL),
        ~text.str.contains(r"\x{FFFD}|Ã.|â€"),
    )
    return pl.sum_horizontal(checks).cast(pl.Float64) / len(checks)


def normal(text: pl.Expr) -> pl.Expr:
    """Equal after this means an exact duplicate: compatibility forms, case and white space do not count."""
    return text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
