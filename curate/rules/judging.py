"""From texts to scores, from scores and thresholds to verdicts: the pure middle of the filter stage."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from curate.rules.registry import Rule

if TYPE_CHECKING:
    from curate.config.table import Bounds

VERDICT = ("row_id", "stage", "rule", "score", "threshold", "kept", "twin_id", "note")


def score(rows: pl.DataFrame, row_id: str, text: str, rules: Mapping[str, Rule]) -> pl.DataFrame:
    """One Float64 column a rule beside `row_id`, in the order of `rows`; a null text scores as the empty one."""
    column = pl.col(text).fill_null("")
    scores = [rule.score(column).cast(pl.Float64).alias(name) for name, rule in rules.items()]
    return rows.lazy().select(pl.col(row_id).alias("row_id"), *scores).collect()


def said(text: str) -> pl.Expr:
    """All that the user said in a dialogue: earlier `turns`, then the column `text`.

    "yes, please" is a good prompt after a good question.
    """
    turn = pl.element().struct
    is_users = turn.field("role") == "user"
    earlier = pl.col("turns").list.eval(pl.when(is_users).then(turn.field("text"))).list.drop_nulls()
    return pl.concat_list(earlier, pl.col(text)).list.join("\n")


def judge(scores: pl.DataFrame, thresholds: "Mapping[str, Bounds]", stage: str) -> pl.DataFrame:
    """One verdict against a row for each rule whose bounds its score leaves; the bounds themselves pass."""
    parts = []
    for name, bounds in thresholds.items():
        if bounds.min is not None:
            parts.append(_verdicts(scores.filter(pl.col(name) < bounds.min), name, stage, bounds.min, kept=False))
        if bounds.max is not None:
            parts.append(_verdicts(scores.filter(pl.col(name) > bounds.max), name, stage, bounds.max, kept=False))
    return _in_row_order(parts, scores)


def tag(scores: pl.DataFrame, tags: tuple[str, ...], stage: str) -> pl.DataFrame:
    """One verdict that keeps the row for each tag whose score is above 0."""
    return _in_row_order(
        [_verdicts(scores.filter(pl.col(name) > 0), name, stage, 0.0, kept=True) for name in tags], scores
    )


def kept(rows: pl.DataFrame, row_id: str, verdicts: pl.DataFrame) -> pl.DataFrame:
    """The rows that no verdict drops, in their order."""
    against = verdicts.filter(~pl.col("kept")).select(pl.col("row_id").alias(row_id)).unique(maintain_order=True)
    return rows.join(against, on=row_id, how="anti", maintain_order="left")


def no_verdicts() -> pl.DataFrame:
    """An empty table of verdicts."""
    types = {"score": pl.Float64, "threshold": pl.Float64, "kept": pl.Boolean}
    return pl.DataFrame(schema={name: types.get(name, pl.String) for name in VERDICT})


def _verdicts(rows: pl.DataFrame, rule: str, stage: str, threshold: float, *, kept: bool) -> pl.DataFrame:
    return rows.select(
        "row_id",
        pl.lit(stage).alias("stage"),
        pl.lit(rule).alias("rule"),
        pl.col(rule).alias("score"),
        pl.lit(float(threshold)).alias("threshold"),
        pl.lit(kept).alias("kept"),
        pl.lit(None, pl.String).alias("twin_id"),
        pl.lit(None, pl.String).alias("note"),
    )


def _in_row_order(parts: list[pl.DataFrame], scores: pl.DataFrame) -> pl.DataFrame:
    verdicts = pl.concat([no_verdicts(), *parts])
    order = scores.select("row_id").with_row_index("position")
    return (
        verdicts.join(order, on="row_id", how="left", maintain_order="left")
        .sort("position", maintain_order=True)
        .select(VERDICT)
    )
