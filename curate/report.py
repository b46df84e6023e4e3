"""What a pipeline's tables say, as plain values: status with row accounting and money, and rows with word diffs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline
from curate.ledger.accounts import calls_by_model, sent_by_model
from curate.pipeline import STAGES, survey
from curate.store import releases
from curate.store.run import RunStore
from schemas.errors import StoreError, UsageError

if TYPE_CHECKING:
    import polars as pl

TABLES = {
    "prompts": ("filter", "import"),
    "preferences": ("import",),
    "answers": ("generate",),
    "pairs": ("dedup",),
    "clusters": ("dedup",),
    "duplicates": ("dedup",),
    "near_misses": ("dedup",),
    "borderline": ("dedup",),
    "similarities": ("dedup",),
    "drops": ("dedup",),
    "leaders": ("dedup",),
    "corrections": ("annotate",),
    "candidates": ("annotate",),
    "annotators": ("annotate",),
    "agreement": ("annotate",),
    "waiting": ("annotate",),
    "recipes": ("annotate",),
    "triples": ("release",),
    "rows": ("train",),
    "samples": ("train",),
    "corrected": ("evaluate",),
    "scores": ("filter", "annotate"),
}
"""Table to the stages that hold it, the last state first; verdicts and failures are in all stages."""

EVERYWHERE = ("verdicts", "failures")


def status(pipeline: Pipeline) -> dict[str, Any]:
    """State, row accounting and reasons of each stage, money by model, and the releases."""
    stages = []
    for one in survey(pipeline):
        entry: dict[str, Any] = {"stage": one.name, "state": one.state}
        if one.manifest is not None:
            accounting = one.manifest.accounting
            entry["accounting"] = {name: getattr(accounting, name) for name in accounting.__struct_fields__}
            entry |= {name: getattr(one.manifest, name) for name in ("dropped_by", "failed_by", "tagged_by", "notes")}
        if one.problem:
            entry["problem"] = one.problem
        stages.append(entry)
    return {
        "pipeline": pipeline.name,
        "workdir": str(pipeline.workdir),
        "stages": stages,
        "calls": calls(pipeline.workdir),
        "releases": releases.versions(pipeline.workdir / "releases"),
    }


def calls(workdir: Path) -> list[dict[str, Any]]:
    """Replies, tokens and USD by stage and model."""
    found = calls_by_model(workdir / "ledger.sqlite")
    return [{**call, "cost_usd": call.pop("cost_nano_usd") / 1e9} for call in found]


def rows(
    pipeline: Pipeline, table: str, stage: str | None, where: dict[str, str], limit: int | None, *, changed: bool
) -> list[dict[str, Any]]:
    """Rows of a published table whose columns equal `where`, the first `limit` (None: all) by order of the table.

    changed: only rows whose correction differs from the answer. Raises UsageError at an unknown table or column.
    """
    import polars as pl

    frame = _table(pipeline, table, stage)
    columns = frame.collect_schema()
    unknown = [name for name in where if name not in columns]
    if unknown:
        raise UsageError(f"{table} has no column {', '.join(unknown)}", do=f"columns: {', '.join(columns)}")
    for name, value in where.items():
        if columns[name].is_nested():
            raise UsageError(f"rows of {table} cannot be chosen by {name}, which holds lists", do="choose by another")
        frame = frame.filter(pl.col(name).cast(pl.String) == value)
    if changed and "is_identity" in columns:
        frame = frame.filter(~pl.col("is_identity"))
    return (frame if limit is None else frame.head(limit)).collect().to_dicts()


def _table(pipeline: Pipeline, table: str, stage: str | None) -> "pl.LazyFrame":
    import polars as pl

    if table not in TABLES and table not in EVERYWHERE:
        raise UsageError(f"there is no table {table}", do=f"tables: {', '.join([*TABLES, *EVERYWHERE])}")
    holders = TABLES.get(table, tuple(STAGES))
    if stage and stage not in holders:
        raise UsageError(f"the stage {stage} has no table {table}", do=f"it stands in: {', '.join(holders)}")
    store = RunStore(pipeline.workdir)
    stages = (stage,) if stage else holders
    found = [name for name in stages if (manifest := store.manifest(name)) and table in manifest.tables]
    if not found:
        need = "give a source preferences = true, then: " if table == "preferences" else ""
        raise StoreError(f"{table}: nothing is published yet", do=f"{need}curate run --stage {stages[0]}")
    if table in TABLES:
        frame = store.table(found[0], table)
        if table == "clusters":
            return _shared_clusters(store, frame)
        if table == "preferences":
            return _with_questions(store, frame)
        if table == "waiting":
            return _waiting_with_texts(store, frame)
        if table == "annotators":
            return _with_calls(store.workdir, frame)
        return _with_texts(store, frame) if table in {"corrections", "candidates"} else frame
    return pl.concat([store.table(name, table) for name in found])


def _with_texts(store: RunStore, corrections: "pl.LazyFrame") -> "pl.LazyFrame":
    """Corrections with the pair they were written from, so that they can be shown as a diff."""
    import polars as pl

    pairs = store.table("dedup", "pairs").select("pair_id", "question", "answer")
    joined = corrections.rename({"text": "correction"}).join(pairs, on="pair_id", how="inner", maintain_order="left")
    return joined.with_columns((pl.col("answer") == pl.col("correction")).alias("is_identity"))


def _waiting_with_texts(store: RunStore, waiting: "pl.LazyFrame") -> "pl.LazyFrame":
    """What waits with its pair, and the correction where one is there that waits for others or for a choice."""
    pairs = store.table("dedup", "pairs").select("pair_id", "question", "answer")
    texts = store.table("annotate", "candidates").select("correction_id", "text").rename({"text": "correction"})
    joined = waiting.join(pairs, on="pair_id", how="left", maintain_order="left")
    return joined.join(texts, on="correction_id", how="left", maintain_order="left")


def _with_calls(workdir: Path, annotators: "pl.LazyFrame") -> "pl.LazyFrame":
    """The report of annotators with what their calls cost, over all runs: those of the critic and the judge, too.

    seconds: of a call that brought a reply, on average.
    """
    import polars as pl

    ledger = workdir / "ledger.sqlite"
    columns = {"input_tokens": pl.Int64, "output_tokens": pl.Int64, "cost_nano_usd": pl.Int64}
    used = pl.DataFrame(calls_by_model(ledger), schema_overrides=columns)
    sent = pl.DataFrame(sent_by_model(ledger), schema_overrides={"latency_ms": pl.Float64})
    if used.is_empty():
        return annotators
    if sent.is_empty():
        sent = pl.DataFrame(schema={"stage": pl.String, "model": pl.String, "latency_ms": pl.Float64})
    spent = (
        used.join(sent.select("stage", "model", "latency_ms"), on=["stage", "model"], how="left")
        .filter(pl.col("stage") == "annotate")
        .select(
            pl.col("model").alias("annotator"),
            pl.col("calls").cast(pl.Int64),
            *("input_tokens", "output_tokens"),
            (pl.col("cost_nano_usd") / 1e9).alias("cost_usd"),
            (pl.col("latency_ms") / 1e3).alias("seconds"),
        )
    )
    listed = annotators.collect()
    found = listed.join(spent, on="annotator", how="full", coalesce=True, maintain_order="left_right")
    return found.lazy()


def _with_questions(store: RunStore, preferences: "pl.LazyFrame") -> "pl.LazyFrame":
    """Preferences with the text of their prompt, so that they can be shown as a diff."""
    import polars as pl

    questions = store.table("import", "prompts").select("prompt_id", pl.col("text").alias("question"))
    joined = preferences.join(questions, on="prompt_id", how="left", maintain_order="left")
    return joined.with_columns((pl.col("answer") == pl.col("correction")).alias("is_identity"))


def _shared_clusters(store: RunStore, clusters: "pl.LazyFrame") -> "pl.LazyFrame":
    """Clusters of two questions or more, the largest first; each with the texts of all its questions, leader first."""
    import polars as pl

    prompts = store.table("filter", "prompts").select("prompt_id", pl.col("text").alias("question"))
    is_leader = pl.col("prompt_id") == pl.col("cluster_id")
    return (
        clusters.join(prompts, on="prompt_id", how="left")
        .sort("cluster_id", ~is_leader, "similarity", "prompt_id", descending=[False, False, True, False])
        .group_by("cluster_id", maintain_order=True)
        .agg(
            size=pl.len(),
            members=pl.struct(
                "prompt_id", "question", pl.when(~is_leader).then(pl.col("similarity")).alias("similarity")
            ),
        )
        .filter(pl.col("size") > 1)
        .sort("size", "cluster_id", descending=[True, False])
    )
