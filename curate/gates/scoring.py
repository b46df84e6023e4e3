"""From corrections to scores: `curate.rules.judging.judge` turns them into verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.gates.preparing import prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from curate.gates.registry import Context, Gate

COLUMNS = ("correction_id", "question", "turns", "answer", "correction", "is_flagged")


def score(rows: pl.DataFrame, gates: Mapping[str, Gate], context: Context) -> pl.DataFrame:
    """`row_id` (the correction_id) and one Float64 column a gate, in the order of `rows`.

    rows: `COLUMNS`; others are not read. is_flagged: whether a critique said that the answer breaks a rule of
    harmlessness; null where no critique was made.
    A correction that equals its answer byte for byte is not looked at: it scores what the gate calls `unchanged`,
    which lies inside the default bounds, so that copies pass whatever their text is.
    """
    import polars as pl

    is_copy = rows["answer"].fill_null("") == rows["correction"].fill_null("")
    changed = prepared(rows.select(COLUMNS).filter(~is_copy))
    positions = (~is_copy).arg_true()
    columns = [rows["correction_id"].rename("row_id")]
    for name, gate in gates.items():
        column = pl.repeat(gate.unchanged, rows.height, dtype=pl.Float64, eager=True)
        scores = gate.score(changed, context).cast(pl.Float64)
        columns.append(column.scatter(positions, scores).rename(name) if len(positions) else column.rename(name))
    return pl.DataFrame(columns)
