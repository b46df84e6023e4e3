"""What changed between two releases, row by row."""

import polars as pl

from curate.release.version import Diff


def compare(old: pl.LazyFrame, new: pl.LazyFrame) -> tuple[Diff, pl.DataFrame]:
    """The counts, and the rows that differ: `change` (added, removed, changed), pair_id and both corrections.

    A row is known by its pair and annotator; it changed when any released column differs.
    """
    old_columns, new_columns = old.collect_schema().names(), new.collect_schema().names()
    shared = [name for name in new_columns if name in old_columns]
    key = ["pair_id", "annotator"]
    rows = (
        _marked(old, shared, key)
        .join(_marked(new, shared, key), on=key, how="full", coalesce=True, suffix="_new")
        .with_columns(
            pl.when(pl.col("row").is_null())
            .then(pl.lit("added"))
            .when(pl.col("row_new").is_null())
            .then(pl.lit("removed"))
            .when(pl.col("row") != pl.col("row_new"))
            .then(pl.lit("changed"))
            .alias("change")
        )
        .filter(pl.col("change").is_not_null())
        .select("change", *key, "correction", "correction_new")
        .sort("change", *key)
        .collect()
    )
    counts = dict(rows.group_by("change").len().iter_rows())
    diff = Diff(counts.get("added", 0), counts.get("removed", 0), counts.get("changed", 0), old_columns != new_columns)
    return diff, rows


def _marked(rows: pl.LazyFrame, columns: list[str], key: list[str]) -> pl.LazyFrame:
    whole = pl.struct(name for name in columns if name not in key).struct.json_encode()
    return rows.select(*key, "correction", whole.alias("row"))
