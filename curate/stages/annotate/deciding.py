"""Which corrections stay: gates, the judge, one winner a pair, and a bound on copies. Pure: tables in, tables out."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from annotators.adjudication import by_preference, by_vote
from annotators.label_studio.results import REJECT
from annotators.label_studio.screens import Step
from annotators.replies import AXES
from curate.assignment import uniforms
from curate.config.annotating import AnnotateConfig
from curate.stages.annotate.adjudicating import Choices
from curate.stages.annotate.comparing import ANSWER, Preferences
from curate.stages.annotate.correcting import NAME

if TYPE_CHECKING:
    import polars as pl

    from curate.config.table import Bounds

COPIES = "copies.share"
OTHERS = "others"
"""Why a correction waits: another one of its pair is still to come."""
Verdict = tuple[str, str, str, float | None, float | None, bool, str | None, str | None]


@dataclass(frozen=True)
class Decided:
    """kept: rows that stay, one a pair. verdicts: all of them. undecided: rows that wait, with `reason`."""

    kept: "pl.DataFrame"
    verdicts: "pl.DataFrame"
    undecided: "pl.DataFrame"


def gate_verdicts(rows: "pl.DataFrame", scores: "pl.DataFrame", bounds: "Mapping[str, Bounds]") -> "pl.DataFrame":
    """Verdicts against corrections whose scores leave the bounds. A copy passes: it is training data as it is."""
    import polars as pl

    from curate.rules.judging import judge

    changed = rows.filter(pl.col("correction") != pl.col("answer")).select(row_id="correction_id")
    return judge(scores.join(changed, on="row_id", how="semi", maintain_order="left"), bounds, NAME)


def without(rows: "pl.DataFrame", verdicts: "pl.DataFrame") -> "pl.DataFrame":
    """The corrections that no verdict drops."""
    import polars as pl

    against = verdicts.filter(~pl.col("kept"))
    return rows.join(against, left_on="correction_id", right_on="row_id", how="anti", maintain_order="left")


def decide(
    rows: "pl.DataFrame",
    gates: "pl.DataFrame",
    preferred: Preferences,
    config: AnnotateConfig,
    chosen: Choices,
    unfinished: "pl.Series",
) -> Decided:
    """Judge some corrections with their pairs.

    rows: the columns of Corrections, answer and correction; those of a pair stand together. gates: verdicts.
    preferred: what the judge said. unfinished: ids of pairs that a person is still to correct, too: their other
    corrections wait for that one.
    """
    import polars as pl

    judged = _frame(_judged(without(rows, gates), preferred, config))
    survivors = without(rows, pl.concat([gates, judged]))
    is_unfinished = pl.col("pair_id").is_in(unfinished.implode())
    groups = _contested(survivors.filter(~is_unfinished), chosen)
    adjudicated = [_adjudicated(group, preferred, config, chosen) for group in groups]
    lost = _frame([verdict for verdicts in adjudicated for verdict in verdicts or []])
    open_pairs = [group["pair_id"][0] for group, found in zip(groups, adjudicated, strict=True) if found is None]
    is_open = pl.col("pair_id").is_in(open_pairs) | is_unfinished
    kept = without(survivors.filter(~is_open), lost)
    reason = pl.when(is_unfinished).then(pl.lit(OTHERS)).otherwise(pl.lit(str(Step.ADJUDICATE)))
    undecided = survivors.filter(is_open).with_columns(reason.alias("reason"))
    return Decided(kept, pl.concat([gates, judged, lost]), undecided)


def copies_beyond(copies: "pl.DataFrame", changed: int, share: float, seed: int) -> "pl.Series":
    """Ids of the copies that are too many: those drawn last, by pair and seed.

    copies: correction_id and pair_id of all that were kept. changed: kept corrections that are none.
    """
    import polars as pl

    allowed = copies.height if share >= 1.0 else math.floor(changed * share / (1.0 - share) + 1e-9)
    drawn = copies.with_columns(uniforms(copies["pair_id"], COPIES, seed)).sort("drawn", "correction_id")
    return drawn.slice(allowed).select(pl.col("correction_id"))["correction_id"]


def copy_verdicts(kept: "pl.DataFrame", too_many: "pl.Series", share: float) -> "pl.DataFrame":
    """A verdict against each of some kept corrections that is a copy too many."""
    import polars as pl

    ids = kept.filter(pl.col("correction_id").is_in(too_many.implode()))["correction_id"].to_list()
    return _frame([(one, NAME, COPIES, 1.0, share, False, None, None) for one in ids])


def _judged(rows: "pl.DataFrame", preferred: Preferences, config: AnnotateConfig) -> Iterator[Verdict]:
    """What the judge said of each correction against its answer, axis by axis; only the whole can drop it."""
    lowest = 0.0 if config.judge is None else config.judge.min_preference
    for correction_id in rows["correction_id"].to_list():
        if (correction_id, ANSWER) not in preferred:
            continue
        said = preferred[correction_id, ANSWER]
        if said is None:
            yield correction_id, NAME, "judge.unread", None, None, True, None, None
            continue
        for axis in AXES:
            bound = lowest if axis == "overall" else None
            is_kept = bound is None or said[axis] >= bound
            yield correction_id, NAME, f"judge.{axis}", said[axis], bound, is_kept, None, None


def _contested(rows: "pl.DataFrame", chosen: Choices) -> "list[pl.DataFrame]":
    """The corrections of each pair that has more than one, or of which a person decided."""
    import polars as pl

    is_decided = pl.col("pair_id").is_in(list(chosen.by_pair))
    return rows.filter((pl.len().over("pair_id") > 1) | is_decided).partition_by("pair_id", maintain_order=True)


def _adjudicated(
    group: "pl.DataFrame", preferred: Preferences, config: AnnotateConfig, chosen: Choices
) -> list[Verdict] | None:
    """A verdict against each loser, whose twin is the winner; None where a person must choose."""
    names, texts, ids = (group[column].to_list() for column in ("annotator", "correction", "correction_id"))
    by_name = {one.name: one.weight for one in config.annotators}
    weights = [by_name.get(name, 0.0) for name in names]
    way = config.overlap.adjudicate
    if way == "person":
        choice = chosen.winner(group)
        if choice == REJECT:
            return [(one, NAME, f"adjudication.{way}", 1.0, None, False, None, "no correction may stay") for one in ids]
        winner, score = choice if isinstance(choice, int) else None, 1.0
    elif way == "judge":
        overall = {two: said["overall"] for two in combinations(sorted(ids), 2) if (said := preferred.get(two))}
        winner, score = by_preference(ids, overall, weights)
    else:
        winner, score = by_vote(group["answer"][0], texts, weights)
    if winner is None:
        return None
    rule, twin = f"adjudication.{way}", ids[winner]
    return [(one, NAME, rule, score, None, False, twin, None) for one in ids if one != twin]


def _frame(verdicts: "Iterator[Verdict] | list[Verdict]") -> "pl.DataFrame":
    import polars as pl

    from curate.rules.judging import no_verdicts

    return pl.DataFrame(list(verdicts), schema=no_verdicts().schema, orient="row")


def table_of_verdicts(rows: list[Any]) -> "pl.DataFrame":
    """Tags from (row_id, rule, score, note): verdicts that keep their row."""
    return _frame([(row_id, NAME, rule, score, None, True, None, note) for row_id, rule, score, note in rows])
