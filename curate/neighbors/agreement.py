"""What two texts must agree in beside a cosine, and which of two texts is better made: column expressions.

Cosine alone calls "30 metres" and "31 metres", "can" and "cannot" the same; these see the difference.
"""

from collections import Counter
from collections.abc import Sequence

import polars as pl
from rapidfuzz.distance import OSA

NUMBER = r"(?:(?:^|[\s(])[-−])?\d+(?:[.,]\d+)*|[<>≤≥=≠+%$€£°^#\p{So}]"
"""With its sign, where one stands before it and no word; what formulas and prices are made of; pictures."""

NEGATION = (
    r"(?i)(?-u:\b)(?:not?|never|none|nobody|nothing|neither|nor|cannot|without|nicht|kein[a-z]*|nie|pas|jamais|nunca)"
    r"(?-u:\b)|n['’]t(?-u:\b)"
)
WORD = r"[\p{L}\p{M}]+(?:['’-][\p{L}\p{M}]+)*"
SHORTEST_MISSPELT = 5
MOST_COMPARED = 16
"""Words of one text alone among which misspelt ones are looked for."""

TERMINAL = r"[.!?…。！？:;)\]}\"'”’`»*|>]\s*$"


def numbers(text: pl.Expr) -> pl.Expr:
    """All numbers and signs of a text, sorted and joined; equal where two texts hold the same ones as often."""
    return text.str.extract_all(NUMBER).list.eval(pl.element().str.strip_chars(" (\n\t")).list.sort().list.join(" ")


def negations(text: pl.Expr) -> pl.Expr:
    """Count of negating words: English, some German, French and Spanish."""
    return text.str.count_matches(NEGATION)


def words(text: pl.Expr) -> pl.Expr:
    """The words of a text as often as they stand; numbers are not words."""
    return text.str.extract_all(WORD)


def exchanged_words(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words of one text stand for others in the other: 0 where words were only added, left out or misspelt.

    A word is misspelt where two letters are swapped, or, of five letters or more, one is added, left out or replaced:
    "Iran" and "Iraq", "mg" and "kg" are other words. Words are compared as often as they stand. Texts with more than
    `MOST_COMPARED` words of their own each are rewritten, not edited: the smaller count of such words is told.
    """
    left, right = Counter(one) - Counter(other), Counter(other) - Counter(one)
    fewer = min(left.total(), right.total())
    if not 0 < fewer <= MOST_COMPARED:
        return fewer
    rest = sorted(right.elements())
    unmatched = 0
    for word in sorted(left.elements()):
        alike = next((misspelt for misspelt in rest if _is_misspelt(word, misspelt)), None)
        if alike is None:
            unmatched += 1
        else:
            rest.remove(alike)
    return min(unmatched, len(rest))


def _is_misspelt(word: str, other: str) -> bool:
    is_long = min(len(word), len(other)) >= SHORTEST_MISSPELT
    return (is_long or sorted(word) == sorted(other)) and OSA.distance(word, other, score_cutoff=1) <= 1


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
    """Equal after this means an exact duplicate: compatibility forms, case and white space do not count.

    A raised digit stays one: 10² is not 102.
    """
    raised = text.str.replace_all(r"([⁰¹²³⁴-⁹])", "^$1")
    return raised.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
