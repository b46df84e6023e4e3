"""What dedup tells about its decisions: duplicates and near misses with texts, the borderline, similarities, drops."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from curate.neighbors.cosine import Cosines, Matrix, Numbers, cosines
from curate.neighbors.leading import Leaders
from curate.neighbors.passes import Bounds

SAMPLED = 2000
"""Questions that lead of which the similarity to all leaders before them is told."""

BORDERLINE = 25
"""Pairs told on each side of each threshold, the nearest to it."""

BIN = 0.01


def told(pairs: pl.DataFrame, links: pl.DataFrame, model: str, bounds: Bounds) -> pl.DataFrame:
    """Links with ids and texts of both pairs. links: rows and twins as positions; model: that of the cosines.

    Thresholds are those of the near pass. twin_is_released: the twin is a pair of an earlier release.
    """
    texts = pairs.select("row", "pair_id", "question", "answer", "model", "source", "is_released")
    theirs = texts.select(
        pl.col("row").alias("twin"),
        *(pl.col(name).alias(f"twin_{name.replace('pair_id', 'id')}") for name in texts.columns[1:]),
    )
    return (
        links.join(texts.drop("is_released"), on="row", how="inner", validate="1:1")
        .join(theirs, on="twin", how="inner", validate="m:1")
        .rename({"pair_id": "row_id", "model": "upstream_model", "twin_model": "twin_upstream_model"})
        .with_columns(
            embedding_model=pl.lit(model),
            question_threshold=pl.lit(bounds.question),
            answer_threshold=pl.lit(bounds.answer),
        )
        .drop("row", "twin")
        .sort("row_id")
    )


def verdicts(duplicates: pl.DataFrame, bounds: Bounds) -> pl.DataFrame:
    """A verdict against each duplicate: the similarity that decided, its threshold, the twin, what else was alike."""
    by_letters = pl.col("rule") == "dedup.lexical"
    return duplicates.select(
        "row_id",
        stage=pl.lit("dedup"),
        rule="rule",
        score="answer_similarity",
        threshold=pl.when(pl.col("rule") == "dedup.exact")
        .then(1.0)
        .when(by_letters)
        .then(bounds.lexical)
        .otherwise(bounds.answer),
        kept=pl.lit(value=False),
        twin_id="twin_id",
        note=pl.format(
            "question {}, shingles {}{}",
            pl.col("question_similarity").round(4),
            pl.col("spelling").round(4),
            pl.when("twin_is_released").then(pl.lit("; the twin is in an earlier release")).otherwise(pl.lit("")),
        ),
    )


def borderline(duplicates: pl.DataFrame, misses: pl.DataFrame, bounds: Bounds) -> pl.DataFrame:
    """Pairs nearest to the thresholds of the near pass on both sides: what a little more or less would change."""
    both = pl.concat(
        [
            duplicates.filter(pl.col("rule") == "dedup.near").with_columns(falls=pl.lit(value=True)).drop("rule"),
            misses.with_columns(falls=pl.lit(value=False)).drop("blocked_by"),
        ],
        how="diagonal",
    )
    parts = []
    for what, threshold in (("answer_similarity", bounds.answer), ("question_similarity", bounds.question)):
        distance = (pl.col(what) - threshold).abs()
        for side in (pl.col(what) >= threshold, pl.col(what) < threshold):
            nearest = both.filter(side & (pl.col(what) < 1.0)).sort(distance, "row_id").head(BORDERLINE)
            parts.append(nearest.select(pl.lit(what).alias("what"), pl.all()))
    return pl.concat(parts)


def sampled_similarities(vectors: Matrix, leaders: Leaders) -> Cosines:
    """Of some leaders the cosine to the nearest leader before them, shape (at most SAMPLED,)."""
    positions = np.flatnonzero(leaders.is_leader)
    chosen = positions[np.linspace(0, len(positions) - 1, min(SAMPLED, len(positions))).astype(np.int64)]
    best = np.full(len(chosen), -2.0, dtype=np.float32)
    nearest: Numbers = np.zeros(len(chosen), dtype=np.int64)
    for start in range(0, len(positions), 16_384):
        some = positions[start : start + 16_384]
        products = vectors[chosen] @ vectors[some].T
        products[some[None, :] >= chosen[:, None]] = -2.0
        place = products.argmax(axis=1)
        score = products[np.arange(len(chosen)), place]
        nearest, best = np.where(score > best, some[place], nearest), np.maximum(score, best)
    has_earlier = best > -2.0
    return cosines(vectors, chosen[has_earlier], nearest[has_earlier])


def histogram(similarities: Mapping[str, Sequence[float] | Cosines]) -> pl.DataFrame:
    """Counts of similarities in bins of .01 from 0 to 1, those below 0 in the first; empty bins are left out."""
    edges = round(1 / BIN)
    parts = [pl.DataFrame(schema={"what": pl.String, "from": pl.Float64, "count": pl.Int64})]
    for what, values in similarities.items():
        bins = np.clip((np.asarray(values, dtype=np.float64) / BIN + 1e-9).astype(np.int64), 0, edges)
        places, counts = np.unique(bins, return_counts=True)
        parts.append(pl.DataFrame({"what": [what] * len(places), "from": (places * BIN).round(2), "count": counts}))
    return pl.concat(parts)


def drops(pairs: pl.DataFrame, dropped: pl.DataFrame) -> pl.DataFrame:
    """Pairs in and dropped by source and upstream model: a threshold that hits one of them alone is a bad threshold."""
    is_dropped = pl.col("pair_id").is_in(dropped["row_id"].implode())
    return (
        pairs.group_by("source", pl.col("model").alias("upstream_model"))
        .agg(pairs=pl.len().cast(pl.Int64), dropped=is_dropped.sum().cast(pl.Int64))
        .with_columns(share=(pl.col("dropped") / pl.col("pairs")).round(4))
        .sort("source", "upstream_model")
    )
