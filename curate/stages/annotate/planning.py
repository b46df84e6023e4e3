"""The plan of one run: who corrects which pair, and which pairs preference data correct already."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.config.model import Pipeline
from curate.ledger.journal import Ledger
from curate.rules.registry import find_rules
from curate.stages.annotate.correcting import NAME, criticised
from curate.stages.annotate.deciding import table_of_verdicts
from curate.stages.annotate.recipes import Staff
from curate.stages.annotate.routing import plan, within_quotas
from curate.store.run import RunStore
from schemas.errors import StageError

if TYPE_CHECKING:
    import polars as pl

HARMLESS = "harmless"
"""Rules of this principle, when broken, flag an answer: a refusal may then be its correction."""
ORDERS, MARKS = "injection.orders", "injection.marks"


@dataclass(frozen=True)
class Planned:
    """The plan of one run. tasks: pair_id, order, wanted and violations of the pairs that are to be corrected.

    flags: pair_id and is_flagged of all pairs: whether the critic found a rule of harmlessness broken, null where there
    is no critique. verdicts: what the critic said, by shard.
    """

    tasks: "pl.DataFrame"
    flags: "pl.DataFrame"
    verdicts: "list[pl.DataFrame]"


def planned(pipeline: Pipeline, store: RunStore, staff: Staff, ledger: Ledger) -> Planned:
    """Who corrects what: all pairs but those that preference data correct.

    Holds of each pair its id, its annotators and the rules that the critic found broken.
    """
    import polars as pl

    config, seed = pipeline.config.annotate, pipeline.config.seed
    is_harm = (pl.element() == HARMLESS) | pl.element().str.starts_with(f"{HARMLESS}.")
    parts, flags, verdicts = [], [], []
    for pairs in store.frames("dedup", "pairs"):
        criticised_pairs, said = criticised(pairs, staff.critic, ledger)
        verdicts.append(table_of_verdicts(said))
        flags.append(
            criticised_pairs.select("pair_id", pl.col("violations").list.eval(is_harm).list.any().alias("is_flagged"))
        )
        preferred = preferred_texts(store, pairs)
        rest = criticised_pairs.join(preferred, on="pair_id", how="anti", maintain_order="left")
        if rest.height and not config.annotators:
            raise StageError(
                "no annotator is configured to write corrections",
                do=f"add [[pipelines.{pipeline.name}.annotate.annotators]]",
            )
        parts.append(plan(rest, config, seed).with_columns(rest["violations"]))
    rows = pl.concat(parts)
    tasks = within_quotas(rows, config, seed).with_columns(rows["violations"])
    return Planned(tasks, pl.concat(flags), verdicts)


def preferred_texts(store: RunStore, pairs: "pl.DataFrame") -> "pl.DataFrame":
    """Corrections that preference data bring along, in the order of the pairs: pair_id, text, task_id."""
    import polars as pl

    empty = pl.DataFrame(schema={"pair_id": pl.String, "text": pl.String, "task_id": pl.String})
    if "preferences" not in store.published("import").tables:
        return empty
    here = pairs.lazy().select("pair_id", "prompt_id", "answer", "model").with_row_index("row")
    found = (
        store.table("import", "preferences")
        .join(here, left_on=["prompt_id", "answer", "upstream_model"], right_on=["prompt_id", "answer", "model"])
        .sort("row", "source", "source_row")
        .select(
            "pair_id", pl.col("correction").alias("text"), pl.format("{}:{}", "source", "source_row").alias("task_id")
        )
        .collect()
    )
    return found.unique(["pair_id", "text"], keep="first", maintain_order=True)


def suspicious(pairs: "pl.DataFrame", marks: Sequence[str]) -> "pl.DataFrame":
    """Tags on pairs whose question or answer speaks to the model: it holds marks of a template, or gives orders."""
    import polars as pl

    from curate.rules.judging import score, tag

    shown = pairs.select("pair_id", pl.concat_str("question", "answer", separator="\n").alias("shown"))
    scores = score(shown, "pair_id", "shown", find_rules([ORDERS]))
    pattern = "(?i)" + "|".join(re.escape(mark) for mark in marks)
    found = shown["shown"].str.count_matches(pattern) if marks else pl.repeat(0, shown.height, eager=True)
    return tag(scores.with_columns(found.cast(pl.Float64).alias(MARKS)), (ORDERS, MARKS), NAME)
