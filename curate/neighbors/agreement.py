"""What two texts must agree in beside a cosine, and which of two texts is better made: column expressions.

Cosine alone calls "30 metres" and "31 metres", "can" and "cannot" the same; these see the difference.
"""

import polars as pl

NUMBER = r"\d+(?:[.,]\d+)*"
NEGATION = (
    r"(?i)(?-u:\b)(?:not?|never|none|nobody|nothing|neither|nor|cannot|without|nicht|kein[a-z]*|nie|pas|jamais|nunca)"
    r"(?-u:\b)|n['’]t(?-u:\b)"
)
TERMINAL = r"[.!?…。！？:;)\]}\"'”’`»*|>]\s*$"


def numbers(text: pl.Expr) -> pl.Expr:
    """All numbers of a text, sorted and joined by spaces; equal where two texts hold the same numbers as often."""
    return text.str.extract_all(NUMBER).list.sort().list.join(" ")


def negations(text: pl.Expr) -> pl.Expr:
    """Count of negating words: English, some German, French and Spanish."""
    return text.str.count_matches(NEGATION)


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
