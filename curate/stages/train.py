"""Train: the Aligner learns from the released training rows, first to copy (Q-A-A), then to correct (Q-A-C)."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline
from curate.progress import Progress
from curate.store.run import RunStore
from curate.training.templates import Template, read_template
from schemas.errors import MissingExtraError, StageError

if TYPE_CHECKING:
    import polars as pl

    from curate.training.settings import Settings

NAME = "train"
VERSION = 2
MODEL, COPY_MODEL = "aligner", "copy"
"""Folders of the trained model, and of the model after the warm-up, which is the copy baseline of evaluation."""


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """The triples' content and every setting but the device."""
    config = pipeline.config.train
    return {
        "stage": NAME,
        "version": VERSION,
        "triples": store.published("release").content("triples"),
        "seed": pipeline.config.seed,
        "settings": config.model_dump(exclude={"device"}),
        "template": read_template(config.template, pipeline.folder).template_id,
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Train and publish the model, the copy model, the loss curve and the table of rows that were used."""
    try:
        import torch

        from curate.training import aligner, loop, models
        from curate.training.tokens import token_rows
    except ImportError as error:
        raise MissingExtraError("training", "torch and transformers", "train") from error
    import polars as pl

    settings = settings_of(pipeline)
    triples = store.table("release", "triples").filter(pl.col("split") == "train").sort("triple_id").collect()
    if triples.is_empty():
        raise StageError("the release holds no training rows", do="look at `curate status`: where did the rows go?")
    device = models.chosen_device(settings.device)
    if settings.base is None:
        torch.set_num_threads(1)  # at hidden size 64 more threads only wait for each other
    with store.draft(NAME, key, unit="triple", kept="rows") as draft:
        template = settings.template
        prompts = rendered(triples, template)
        answers, corrections = ([template.target(text) for text in triples[name]] for name in ("answer", "correction"))
        texts = [*prompts, *corrections]
        progress.say(f"training on {device} from {settings.base or 'scratch'}, {triples.height:,} rows")
        model, tokenizer = models.start(settings, texts, device)
        rows = token_rows(tokenizer, triples["triple_id"].to_list(), prompts, corrections)
        copies = token_rows(tokenizer, triples["triple_id"].to_list(), prompts, answers)
        too_long = {row.row_id for row in [*rows, *copies] if len(row.ids) > settings.max_tokens}
        rows = [row for row in rows if row.row_id not in too_long]
        if not rows:
            raise StageError(f"each row is longer than {settings.max_tokens} tokens", do="raise train.max_tokens")
        is_warmup = warmup_rows(triples["triple_id"], settings)
        warmup = [row for row in copies if row.row_id in is_warmup and row.row_id not in too_long]
        curve = loop.train(
            model, warmup, 1.0 if settings.base else settings.epochs, settings, "warm-up", progress.update
        )
        aligner.save(aligner.Aligner(model, tokenizer, template), draft.file(f"{COPY_MODEL}/config.json").parent)
        curve += loop.train(model, rows, settings.epochs, settings, "correct", progress.update)
        told = {"base": settings.base, "seed": settings.seed, "last_loss": round(curve[-1].loss, 4), **_release(store)}
        aligner.save(aligner.Aligner(model, tokenizer, template), draft.file(f"{MODEL}/config.json").parent, told)
        draft.file("curve.jsonl").write_text(
            "".join(json.dumps(asdict(point)) + "\n" for point in curve), encoding="utf-8"
        )
        lengths = {row.row_id: (row.prompt_tokens, row.target_tokens, row.row_id in is_warmup) for row in rows}
        columns = {
            "triple_id": pl.String,
            "prompt_tokens": pl.Int64,
            "target_tokens": pl.Int64,
            "is_warmup": pl.Boolean,
        }
        table = pl.DataFrame([(row_id, *values) for row_id, values in lengths.items()], schema=columns, orient="row")
        draft.write("rows", table)
        draft.write("verdicts", _too_long(triples, too_long, settings.max_tokens))
        draft.publish(
            rows_in=triples.height,
            notes={
                "steps": len(curve),
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "last_loss": round(curve[-1].loss, 4),
                "warmup_rows": len(warmup),
            },
        )


def settings_of(pipeline: Pipeline) -> "Settings":
    """The preset's settings with what the configuration gives."""
    from curate.training.settings import settings

    config = pipeline.config.train
    return settings(
        config.preset,
        read_template(config.template, pipeline.folder),
        config.warmup_share,
        pipeline.config.seed,
        config.device,
        **config.model_dump(include={"base", "epochs", "lr_peak", "tokens_per_step", "max_tokens"}),
    )


def rendered(triples: "pl.DataFrame", template: Template) -> list[str]:
    """What the Aligner reads for each row: earlier turns stand before the question."""
    return [
        template.prompt("\n".join([*(turn["text"] for turn in turns), question]), answer)
        for turns, question, answer in triples.select("turns", "question", "answer").iter_rows()
    ]


def warmup_rows(triple_ids: "pl.Series", settings: "Settings") -> set[str]:
    """The rows on which the model first learns to copy, drawn by id."""
    from curate.assignment import uniforms

    return set(triple_ids.filter(uniforms(triple_ids, "warm-up", settings.seed) < settings.warmup_share))


def _release(store: RunStore) -> dict[str, Any]:
    """Which release the model learned from."""
    notes = store.published("release").notes
    return {"release": notes["version"]} if "version" in notes else {}


def _too_long(triples: "pl.DataFrame", too_long: set[str], max_tokens: int) -> "pl.DataFrame":
    import polars as pl

    return triples.filter(pl.col("triple_id").is_in(sorted(too_long))).select(
        pl.col("triple_id").alias("row_id"),
        pl.lit(NAME).alias("stage"),
        pl.lit("train.tokens").alias("rule"),
        pl.lit(None, pl.Float64).alias("score"),
        pl.lit(float(max_tokens)).alias("threshold"),
        pl.lit(value=False).alias("kept"),
        pl.lit(None, pl.String).alias("twin_id"),
        pl.lit("prompt and target together are longer").alias("note"),
    )
