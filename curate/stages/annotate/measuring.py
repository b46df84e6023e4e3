"""What is told of annotators: counts and ratios of each, and how far they agree. Pure but for embeddings."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from annotators.adjudication import COMPARED
from annotators.agreement import alpha, by_pair, pairings, similarities
from curate.stages.annotate.correcting import PERSON

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], "NDArray[np.float32]"]
COUNTS = (
    "corrections",
    "kept",
    "copies",
    "gated",
    "judged_worse",
    "lost",
    "copies_beyond",
    "undecided",
    "failed",
    "waiting",
)


def counted(
    rows: "pl.DataFrame", kept: "pl.DataFrame", verdicts: "pl.DataFrame", undecided: "pl.DataFrame"
) -> "pl.DataFrame":
    """Sums of some corrections by annotator: those of COUNTS but failed and waiting, and sums of ratios.

    rows: all corrections that were written, with answer and correction. edit_ratio: Levenshtein over the longer text,
    of the first 10,000 characters of each; 0 for a copy, 1 where nothing stays. length_ratio: characters of the
    correction over those of the answer.
    """
    import numpy as np
    import polars as pl
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    texts = [rows[name].str.head(COMPARED).to_list() for name in ("answer", "correction")]
    edits = cpdist(*texts, scorer=Levenshtein.normalized_distance, dtype=np.float64, workers=-1)
    family = pl.col("rule").str.split(".").list.first()
    first = (
        verdicts.filter(~pl.col("kept"))
        .unique("row_id", keep="first", maintain_order=True)
        .select(pl.col("row_id").alias("correction_id"), family.alias("family"))
    )
    is_in = {
        name: pl.col("correction_id").is_in(frame["correction_id"].implode())
        for name, frame in (("kept", kept), ("undecided", undecided))
    }
    gone = pl.col("family")
    return (
        rows.with_columns(pl.Series("edit_ratio", edits, dtype=pl.Float64))
        .join(first, on="correction_id", how="left", maintain_order="left")
        .group_by("annotator", maintain_order=True)
        .agg(
            pl.len().alias("corrections"),
            is_in["kept"].sum().alias("kept"),
            (pl.col("answer") == pl.col("correction")).sum().alias("copies"),
            (gone.is_not_null() & ~gone.is_in(["judge", "adjudication", "copies"])).sum().alias("gated"),
            (gone == "judge").sum().alias("judged_worse"),
            (gone == "adjudication").sum().alias("lost"),
            (gone == "copies").sum().alias("copies_beyond"),
            is_in["undecided"].sum().alias("undecided"),
            pl.col("edit_ratio").sum(),
            (pl.col("correction").str.len_chars() / pl.col("answer").str.len_chars()).sum().alias("length_ratio"),
        )
    )


def unwritten(failures: "pl.DataFrame", waiting: "pl.DataFrame") -> "pl.DataFrame":
    """Tasks of each annotator without a correction: failed, and waiting for people."""
    import polars as pl

    failed = failures.filter(pl.col("row_id").str.contains(":", literal=True)).select(
        annotator=pl.col("row_id").str.splitn(":", 2).struct.field("field_1")
    )
    counts = [
        frame.group_by("annotator", maintain_order=True).agg(pl.len().alias(name))
        for name, frame in (("failed", failed), ("waiting", waiting.select("annotator")))
    ]
    return pl.concat(counts, how="diagonal_relaxed")


def compared(rows: "pl.DataFrame", embed: Embed | None) -> "pl.DataFrame":
    """Each two corrections of one pair, measured; embed: gives unit vectors of texts.

    Where several people of one name corrected a pair, the second one is called `name #2`, and so on.
    """
    import numpy as np
    import polars as pl

    place = pl.int_range(1, pl.len() + 1).over("pair_id", "annotator")
    is_another = (pl.col("annotator_kind") == PERSON) & (place > 1)
    numbered = pl.when(is_another).then(pl.format("{} #{}", "annotator", place)).otherwise("annotator")
    pairs = pairings(rows.with_columns(numbered.alias("annotator")))
    measured = similarities(pairs)
    if embed is None:
        return measured
    vectors = [embed(pairs[f"{side}_text"].to_list()) for side in ("one", "other")]
    cosines = np.einsum("ij,ij->i", *vectors).astype(np.float64) if pairs.height else np.zeros(0)
    return measured.with_columns(pl.Series("embedding_similarity", cosines, dtype=pl.Float64))


def report(names: Sequence[str], parts: "list[pl.DataFrame]", agreement: "pl.DataFrame") -> "pl.DataFrame":
    """One row an annotator, those of the configuration first: counts, copy rate, mean ratios, agreement with others.

    parts: of `counted` and `unwritten`. agreement: by pair of annotators; means here are weighted by common pairs.
    Rounded to 6 digits: the last ones of a sum depend on the order of adding.
    """
    import polars as pl

    sums = dict.fromkeys(COUNTS, pl.Int64) | {"edit_ratio": pl.Float64, "length_ratio": pl.Float64}
    empty = pl.DataFrame(schema={"annotator": pl.String, **sums})
    all_parts = pl.concat([empty, *parts], how="diagonal_relaxed")
    summed = all_parts.group_by("annotator", maintain_order=True).agg(pl.col(name).sum() for name in sums)
    others = sorted(set(summed["annotator"].to_list()) - set(names))
    rows = pl.DataFrame({"annotator": [*names, *others]}, schema={"annotator": pl.String})
    found = rows.join(summed, on="annotator", how="left", maintain_order="left")
    found = found.with_columns(pl.col(name).fill_null(0).cast(kind) for name, kind in sums.items())
    mean = {
        name: (pl.col(name) / pl.col("corrections")).fill_nan(None).round(6)
        for name in ("copies", "edit_ratio", "length_ratio")
    }
    return (
        found.join(_with_others(agreement), on="annotator", how="left", maintain_order="left")
        .with_columns(mean["copies"].alias("copy_rate"), mean["edit_ratio"], mean["length_ratio"])
        .select("annotator", *COUNTS, "copy_rate", "edit_ratio", "length_ratio", "changed_agreement", "edit_similarity")
    )


def agreement_of(parts: "list[pl.DataFrame]") -> "pl.DataFrame":
    """By pair of annotators, over all shards."""
    import polars as pl

    return by_pair(pl.concat(parts, how="diagonal_relaxed"))


def rating_agreement(name: str, ratings: "list[tuple[str, str, int]]") -> "pl.DataFrame":
    """How far raters of the same things agree: Krippendorff's alpha of ordinal ratings, as a row of the agreement.

    name: what is rated, with a place for the raters. ratings: unit, rater, rating.
    """
    import polars as pl

    table = pl.DataFrame(ratings, schema=["unit", "rater", "rating"], orient="row")
    shared = table.filter(pl.len().over("unit") > 1)
    raters = sorted(set(shared["rater"].to_list()))
    return pl.DataFrame(
        {
            "one": [name.replace("{}", raters[0] if raters else "nobody")],
            "other": [name.replace("{}", raters[1] if len(raters) == 2 else f"{max(0, len(raters) - 1)} others")],
            "pairs": [shared["unit"].n_unique()],
            "rating_alpha": [alpha(table, "ordinal")],
        },
        schema_overrides={"pairs": pl.UInt32, "rating_alpha": pl.Float64},
    )


def _with_others(agreement: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    sides = [agreement.rename({side: "annotator"}) for side in ("one", "other")]
    measures = ("changed_agreement", "edit_similarity")
    both = pl.concat([side.select("annotator", "pairs", *measures) for side in sides])
    return both.group_by("annotator", maintain_order=True).agg(
        ((pl.col(name) * pl.col("pairs")).sum() / pl.col("pairs").sum()).round(6) for name in measures
    )
