"""From pairs and corrections to released rows: the last pair filter and the splits."""

import polars as pl

from curate.assignment import uniforms
from curate.identity import content_ids

LEFTOVERS = r"(?i)</?correction>|BEGINNING OF CONVERSATION:|##(?:Correction|Revision):"
"""Marks of our templates: a correction that holds one is a reply that went wrong."""


def join(
    pairs: pl.DataFrame, corrections: pl.DataFrame, name: str, shares: tuple[float, float], seed: int
) -> pl.DataFrame:
    """One released row for each correction, in the order of the pairs; splits follow the question's cluster.

    name: the data set's name, part of the draw of splits. shares: of validation and test, of clusters.
    """
    rows = pairs.join(corrections, on="pair_id", how="inner", validate="1:m", maintain_order="left_right")
    rows = rows.rename({"model": "upstream_model", "text": "correction"})
    triple_ids = content_ids(
        "triple", rows["question"], rows["turns"].to_list(), rows["answer"], rows["correction"], rows["pair_id"]
    )
    return rows.with_columns(
        pl.Series("triple_id", triple_ids, dtype=pl.String),
        split(rows["cluster_id"], name, shares, seed),
        (pl.col("correction") == pl.col("answer")).alias("is_identity"),
    )


def split(cluster_ids: pl.Series, name: str, shares: tuple[float, float], seed: int) -> pl.Series:
    """train, validation or test for each row; rows of one cluster are never parted."""
    validation, test = shares
    drawn = uniforms(cluster_ids, f"split {name}", seed)
    return (
        pl.select(
            pl.when(drawn < test)
            .then(pl.lit("test"))
            .when(drawn < test + validation)
            .then(pl.lit("validation"))
            .otherwise(pl.lit("train"))
        )
        .to_series()
        .alias("split")
    )


def judge(triples: pl.DataFrame, max_characters: int) -> pl.DataFrame:
    """Verdicts of the last pair filter: too long, only the question again, or marks of a template in it."""
    question, correction = (pl.col(name).str.to_lowercase().str.strip_chars() for name in ("question", "correction"))
    checks = [
        ("correction.characters", pl.col("correction").str.len_chars(), max_characters),
        ("correction.echo", (question == correction).cast(pl.Int64), 0),
        ("correction.leftover", pl.col("correction").str.count_matches(LEFTOVERS), 0),
    ]
    return pl.concat(
        triples.filter(score > threshold).select(
            pl.col("correction_id").alias("row_id"),
            pl.lit("release").alias("stage"),
            pl.lit(rule).alias("rule"),
            score.cast(pl.Float64).alias("score"),
            pl.lit(float(threshold)).alias("threshold"),
            pl.lit(value=False).alias("kept"),
            pl.lit(None, pl.String).alias("twin_id"),
            pl.lit(None, pl.String).alias("note"),
        )
        for rule, score, threshold in checks
    )
