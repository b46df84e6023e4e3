"""Corrections in another language than question and answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.gates.registry import Context, gate
from curate.rules.language import MOST_CHARACTERS, UNDECIDED, detect

if TYPE_CHECKING:
    import polars as pl

FEWEST_LETTERS = 60
"""Of answer and correction, code and addresses apart: below, py3langid takes names and formulas for languages."""
FEWEST_LETTERS_ASKED = 20
ENGLISH = (
    r"(?i)(?-u:\b)(?:the|and|of|to|is|are|in|that|it|for|you|with|this|can|was|be|as|on|have|not|or|by|an?|your)"
    r"(?-u:\b)"
)
WINDOW = 400
"""Characters at the start and at the end that are looked at; py3langid reads 200 of each."""
ENGLISH_SHARE = 0.15
"""Function words among words; English prose has 30 to 50 %, no other language that is told apart has 10 %."""
NO_PROSE = r"(?s)```.*?(?:```|$)|`[^`\n]*`|https?://\S+|<[^<>\n]{1,100}>|[A-Za-z0-9._%+-]{1,64}@\S+"
SIGNS = r"[(){}\[\];=<>_\\/|#+]"
MOST_SIGNS = 0.04
"""Share of such signs above which a text is code, a formula or a table."""
LINE_LETTERS = 20
"""Fewer letters a line, on average, are a list of names or words, which have no language that could be told."""
NAMED = (
    r"(?i)translat|\b(?:language|arabic|chinese|mandarin|czech|dutch|english|farsi|persian|finnish|french|german|greek"
    r"|hebrew|hindi|hungarian|indonesian|italian|japanese|korean|latin|polish|portuguese|romanian|russian|spanish|swedish"
    r"|thai|turkish|ukrainian|vietnamese|deutsch|englisch|français|anglais|español|inglés|italiano|português)\b"
    r"|übersetz|tradu|英语|中文|日本語|英語"
)


@gate(unit="0 or 1", version=1, highest=0)
def changed(rows: pl.DataFrame, _: Context) -> pl.Series:
    """1 where the correction is in another language than the answer and than the question.

    Not judged: texts too short to be sure, and questions that name a language ("Translate …", "in French"). Pairs that
    are English by their function words are told by polars; py3langid reads the others, two texts a row, 100 to 160 µs
    each, five where the two differ, and loads its model at most twice a table, 0.4 s each time. Start and end of answer
    and correction must agree.
    """
    import polars as pl

    names = ("answer", "correction", "question")
    other = rows.with_row_index("position").filter(
        ~pl.col("asked").str.contains(NAMED) & ~(_is_english("answer") & _is_english("correction"))
    )
    prose = [pl.col(name).str.replace_all(NO_PROSE, " ").str.strip_chars() for name in names]
    letters = {name: pl.col(name).str.count_matches(r"\p{L}") for name in names}
    unsure = other.select("position", *prose).filter(
        (letters["answer"] >= FEWEST_LETTERS)
        & (letters["correction"] >= FEWEST_LETTERS)
        & (letters["question"] >= FEWEST_LETTERS_ASKED)
        & _is_prose("answer")
        & _is_prose("correction")
    )
    scores = pl.repeat(0.0, rows.height, dtype=pl.Float64, eager=True)
    if unsure.is_empty():
        return scores
    told = _codes(unsure["correction"], unsure["answer"])
    unsure = unsure.with_columns(told[0].alias("is_in"), told[1].alias("was_in"))
    differing = unsure.filter(_differ("is_in", "was_in"))
    if differing.is_empty():
        return scores
    ends = [differing[name].str.tail(MOST_CHARACTERS) for name in ("correction", "answer")]
    told = _codes(differing["question"], *ends)
    sure = differing.with_columns(
        told[0].alias("asked_in"), told[1].alias("ends_in"), told[2].alias("ended_in")
    ).filter(
        _differ("is_in", "asked_in") & (pl.col("is_in") == pl.col("ends_in")) & (pl.col("was_in") == pl.col("ended_in"))
    )
    return scores.scatter(sure["position"], 1.0) if sure.height else scores


def _is_english(name: str) -> pl.Expr:
    import polars as pl

    ends = pl.concat_str(pl.col(name).str.head(WINDOW), pl.col(name).str.tail(WINDOW), separator="\n")
    return ends.str.count_matches(ENGLISH) >= ENGLISH_SHARE * ends.str.count_matches(r"[\p{L}\p{M}]+")


def _is_prose(name: str) -> pl.Expr:
    import polars as pl

    letters, lines = pl.col(name).str.count_matches(r"\p{L}"), pl.col(name).str.count_matches(r"[^\n]+")
    has_few_signs = pl.col(name).str.count_matches(SIGNS) <= MOST_SIGNS * pl.col(name).str.len_chars()
    return has_few_signs & (letters >= LINE_LETTERS * lines)


def _differ(one: str, other: str) -> pl.Expr:
    import polars as pl

    both_told = (pl.col(one) != UNDECIDED) & (pl.col(other) != UNDECIDED)
    return both_told & (pl.col(one) != pl.col(other))


def _codes(*columns: pl.Series) -> list[pl.Series]:
    """Languages of columns of one length, told in one pass so that the model is loaded once."""
    import polars as pl

    codes = pl.Series(detect([text for column in columns for text in column], ()), dtype=pl.String)
    height = len(columns[0])
    return [codes.slice(number * height, height) for number in range(len(columns))]
