"""Talk about the editing: the correction is to be the better answer, not a letter about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.gates.registry import Context, gate

if TYPE_CHECKING:
    import polars as pl

HEAD, TAIL = 300, 400
"""Characters at the start and at the end in which such talk is looked for."""

EDITED = r"(?:corrected|edited|revised|improved|rewritten|reworded|rephrased|modified|updated|refined|amended|polished)"
DID = (
    r"(?:edited|corrected|revised|rewritten|rewrote|rephrased|reworded|removed|modified|updated|improved|adjusted|changed"
    r"|added|fixed|replaced|shortened|expanded|clarified|kept|left|made)"
)
ANSWER = r"(?:answers?|responses?|reply|replies)"
ANNOUNCED = (
    rf"(?i)(?:here(?:['’]s|\sis|\sare)|below\sis|this\sis)\s(?:the|an?|my|your)\s(?:[a-z]+\s){{0,2}}{EDITED}\s"
    rf"(?:[a-z]+,?\s){{0,3}}(?:{ANSWER}|version|text|one|draft)\b"
    rf"|(?:^|\n)[\s*_#>\x22]*(?:(?:the|my)\s)?{EDITED}\s(?:[a-z]+\s){{0,2}}(?:{ANSWER}|version)[\s*_\x22]*(?::|\n)"
    r"|(?:^|\n)[\s*_#>]*correction[\s*_]*:"
)
REMARKED = (
    rf"(?i)\bi(?:['’]ve|\shave|\sjust)?\s(?:also\s|only\s|slightly\s)?{DID}\s(?:[a-z'’]+\s){{0,4}}"
    rf"(?:{ANSWER}|changes|edits|corrections|modifications|revisions)\b"
    r"|\bno\s(?:further\s)?(?:changes?|edits?|corrections?|modifications?|revisions?)\s(?:(?:is|are|was|were)\s)?"
    r"(?:needed|necessary|required|made)\b"
    r"|[(\[]\s{0,2}(?:the\s)?(?:answer\s)?(?:is\s|left\s)?unchanged\s{0,2}[)\]]"
    rf"|\bthe\s(?:original|previous|given|provided|initial|existing|above)\s{ANSWER}\b"
    r"|(?:^|\n)[\s*_#(\[]*(?:(?:the\s)?changes\smade|summary\sof\s(?:the\s)?changes|edits\smade"
    r"|reasons?\sfor\s(?:the\s)?(?:changes?|edits?|corrections?))[\s*_]*:"
    rf"|(?:^|\n)[\s*_#(\[]*(?:note|edit|explanation|changes|remark|editor['’]s\snote)[\s*_]*:[\s*_]*i(?:['’]ve|\shave)?\s"
    rf"{DID}\b"
)
TASK_OF_EDITING = (
    r"(?i)\b(?:edit|revis|rewrit|rewrote|rephras|reword|proofread|paraphras|correct|fix|improv|modif|polish|refin|updat"
    r"|enhanc|shorten|change\sthe|errors?\b|mistakes?\b|bugs?\b|debug|what(?:['’]s|\sis)\swrong)"
)


@gate(unit="places", version=1, highest=0)
def editing(rows: pl.DataFrame, _: Context) -> pl.Series:
    """Remarks about the editing at the start or end of the correction, beyond those of the answer.

    "Here is the corrected answer:", "Note: I removed …", "No changes needed". Where the question itself asks for an
    edit, announcing an edited text is no fault; the other remarks are. English; the first 300 and last 400 characters.
    """
    import polars as pl

    correction = rows.select(_ends(pl.col("correction"))).to_series()
    candidates = correction.str.contains(REMARKED) | correction.str.contains(ANNOUNCED)
    scores = pl.repeat(0.0, rows.height, dtype=pl.Float64, eager=True)
    if not candidates.any():
        return scores
    ends = rows.filter(candidates).select(_ends(pl.col("correction")), _ends(pl.col("answer")), "asked")
    counts = {
        name: pl.col(name).str.count_matches(REMARKED).cast(pl.Int64)
        + pl.when(pl.col("asked").str.contains(TASK_OF_EDITING))
        .then(0)
        .otherwise(pl.col(name).str.count_matches(ANNOUNCED).cast(pl.Int64))
        for name in ("correction", "answer")
    }
    beyond = (counts["correction"] - counts["answer"]).clip(lower_bound=0).cast(pl.Float64)
    return scores.scatter(candidates.arg_true(), ends.select(beyond).to_series())


def _ends(text: pl.Expr) -> pl.Expr:
    """The start and the end of a long text, a line each; a short text as it is."""
    import polars as pl

    both = pl.concat_str(text.str.head(HEAD), text.str.tail(TAIL), separator="\n")
    return pl.when(text.str.len_chars() <= HEAD + TAIL).then(text).otherwise(both).name.keep()
