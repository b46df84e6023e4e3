"""How far annotators agree where several corrected the same pairs. Pure: tables in, tables out."""

from typing import TYPE_CHECKING, Literal

from annotators.adjudication import COMPARED

if TYPE_CHECKING:
    import polars as pl

Level = Literal["nominal", "ordinal", "interval", "ratio"]


def pairings(candidates: "pl.DataFrame") -> "pl.DataFrame":
    """Each two corrections of one pair by different annotators: pair_id, both ids, names and texts, and whether each
    changed the answer. one stands before other in the alphabet.

    candidates: pair_id, correction_id, annotator, answer, correction; of an annotator the first of each pair counts.
    """
    import polars as pl

    firsts = candidates.unique(["pair_id", "annotator"], keep="first", maintain_order=True)
    sides = [
        firsts.select(
            "pair_id",
            pl.col("correction_id").alias(f"{side}_id"),
            pl.col("annotator").alias(side),
            pl.col("correction").alias(f"{side}_text"),
            (pl.col("correction") != pl.col("answer")).alias(f"{side}_changed"),
        )
        for side in ("one", "other")
    ]
    joined = sides[0].join(sides[1], on="pair_id", how="inner", maintain_order="left_right")
    return joined.filter(pl.col("one") < pl.col("other"))


def similarities(pairs: "pl.DataFrame") -> "pl.DataFrame":
    """The pairings without their texts, with `edit_similarity`: 1 - Levenshtein over the longer text, 0..1.

    Of each text the first 10,000 characters count.
    """
    import numpy as np
    import polars as pl
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    texts = [pairs[f"{side}_text"].str.head(COMPARED).to_list() for side in ("one", "other")]
    found = cpdist(*texts, scorer=Levenshtein.normalized_similarity, dtype=np.float64)
    return pairs.drop("one_text", "other_text").with_columns(pl.Series("edit_similarity", found, dtype=pl.Float64))


def by_pair(measured: "pl.DataFrame") -> "pl.DataFrame":
    """Of each two annotators: common pairs, share that they agree on "changed or not" with its alpha, and similarities.

    Rounded to 6 digits: the last ones of a sum depend on the order of adding.
    measured: as `similarities` gives it, with `embedding_similarity` or without.
    """
    import polars as pl

    means = [name for name in ("edit_similarity", "embedding_similarity") if name in measured.columns]
    rows = measured.group_by("one", "other").agg(
        pl.len().alias("pairs"),
        (pl.col("one_changed") == pl.col("other_changed")).mean().round(6).alias("changed_agreement"),
        *[pl.col(name).mean().round(6) for name in means],
    )
    alphas = [
        (one, other, _changed_alpha(measured.filter((pl.col("one") == one) & (pl.col("other") == other))))
        for one, other in rows.select("one", "other").sort("one", "other").iter_rows()
    ]
    schema = {"one": pl.String, "other": pl.String, "changed_alpha": pl.Float64}
    return (
        pl.DataFrame(alphas, schema=schema, orient="row")
        .join(rows, on=["one", "other"], how="left", maintain_order="left")
        .select("one", "other", "pairs", "changed_agreement", "changed_alpha", *means)
    )


def alpha(ratings: "pl.DataFrame", level: Level) -> float | None:
    """Krippendorff's alpha: 1 is perfect agreement, 0 what chance gives; by the library of that name.

    ratings: unit, rater, rating; one rating of a unit by a rater. None where it is not defined: nobody rated the same
    unit as another, or all ratings are equal.
    """
    import krippendorff
    import numpy as np
    import polars as pl

    shared = ratings.filter(pl.len().over("unit") > 1)
    if shared["rating"].n_unique() < 2:
        return None
    wide = shared.pivot("unit", index="rater", values="rating", sort_columns=True).sort("rater").drop("rater")
    table = np.array(wide.cast(pl.Float64).to_numpy(), dtype=np.float64)
    return round(float(krippendorff.alpha(reliability_data=table, level_of_measurement=level)), 6)


def _changed_alpha(measured: "pl.DataFrame") -> float | None:
    import polars as pl

    sides = [
        measured.select(
            pl.col("pair_id").alias("unit"),
            pl.col(side).alias("rater"),
            pl.col(f"{side}_changed").cast(pl.Float64).alias("rating"),
        )
        for side in ("one", "other")
    ]
    return alpha(pl.concat(sides), "nominal")
