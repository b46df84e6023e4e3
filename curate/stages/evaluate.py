"""Evaluate: the trained Aligner on held-out rows, beside the copy baseline; changed and unchanged rows apart."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline
from curate.progress import Progress
from curate.stages.train import settings_of
from curate.stages.train_published import COPY_MODEL
from curate.stages.train_rows import rendered
from curate.stages.train_start import MODEL
from curate.store.run import RunStore
from curate.training.folder import read_learned
from schemas.errors import MissingExtraError, StageError

if TYPE_CHECKING:
    import polars as pl

    from curate.training.aligner import Aligner

NAME = "evaluate"
VERSION = 2


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """The model's files and the rows that it is measured on."""
    trained = store.published("train")
    return {
        "stage": NAME,
        "version": VERSION,
        "triples": store.published("release").content("triples"),
        "model": [[file.name, file.sha256] for file in trained.files],
        "settings": pipeline.config.evaluate.model_dump(),
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Publish the table of written corrections and `metrics.json`."""
    try:
        from curate.training import aligner, models
        from curate.training.writing import write_from_drafts
    except ImportError as error:
        raise MissingExtraError("evaluation", "torch and transformers", "train") from error
    import polars as pl

    config = pipeline.config.evaluate
    learned = sorted(read_learned(store.file("train", MODEL)) or ())  # by an Aligner before it, of an earlier release
    is_held_out = (pl.col("split") == config.split) & ~pl.col("triple_id").is_in(learned)
    held_out = store.table("release", "triples").filter(is_held_out).sort("triple_id").collect()
    if held_out.is_empty():
        raise StageError(
            f"the release holds no {config.split} rows", do=f"raise release.{config.split}_share, or add prompts"
        )
    settings = settings_of(pipeline)
    device = models.chosen_device(settings.device)
    with store.draft(NAME, key, unit="triple", kept="corrected") as draft:
        made = aligner.load(str(store.file("train", MODEL)), device)
        model, tokenizer, template = made.model, made.tokenizer, made.template
        prompts = rendered(held_out, template)
        measured = _losses(store, held_out, prompts, made, settings.tokens_per_batch)
        shown = held_out.head(config.max_rows)
        outputs = write_from_drafts(
            model,
            tokenizer,
            prompts[: shown.height],
            [template.target(answer) for answer in shown["answer"]],
            config.max_new_tokens,
            settings.tokens_per_batch,
            progress.update,
        )
        written = pl.Series("aligner_correction", [template.written(text) for text in outputs], dtype=pl.String)
        corrected = shown.select("triple_id", "question", "answer", "correction", "is_identity").with_columns(written)
        measured.update(_measures(corrected))
        measured["rows_with_losses"] = held_out.height
        draft.write("corrected", corrected)
        draft.file("metrics.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
        draft.publish(rows_in=shown.height, notes=measured)


def _losses(
    store: RunStore, held_out: "pl.DataFrame", prompts: list[str], made: "Aligner", tokens_per_batch: int
) -> dict[str, Any]:
    """Nats per token of the held-out corrections under the Aligner and under the copy model, and of plain copies."""
    from curate.evaluation.metrics import loss_per_token, prefers_correction
    from curate.training import models
    from curate.training.losses import row_losses
    from curate.training.tokens import token_rows

    model, tokenizer = made.model, made.tokenizer
    ids = held_out["triple_id"].to_list()
    targets = {name: [made.template.target(text) for text in held_out[name]] for name in ("correction", "answer")}
    rows = token_rows(tokenizer, ids, prompts, targets["correction"])
    copies = token_rows(tokenizer, ids, prompts, targets["answer"])
    correcting = row_losses(model, rows, tokens_per_batch)
    copying = row_losses(model, copies, tokens_per_batch)
    copy_model, _ = models.load(str(store.file("train", COPY_MODEL)), next(model.parameters()).device)
    changed = held_out.filter(~held_out["is_identity"])["triple_id"].to_list()
    return {
        "loss_of_corrections": loss_per_token(correcting),
        "loss_of_corrections_copy_baseline": loss_per_token(row_losses(copy_model, rows, tokens_per_batch)),
        "loss_of_copies": loss_per_token(copying),
        "prefers_correction_changed_rows": prefers_correction(correcting, copying, changed),
    }


def _measures(corrected: "pl.DataFrame") -> dict[str, Any]:
    """Rows that needed a change and rows that did not, apart: a model that only copies must not look half right."""
    import polars as pl

    from curate.evaluation.metrics import copy_measures

    parts = {"all": pl.lit(value=True), "changed": ~pl.col("is_identity"), "unchanged": pl.col("is_identity")}
    measures = {}
    for name, is_part in parts.items():
        part = corrected.filter(is_part)
        texts = (part[column].to_list() for column in ("answer", "correction", "aligner_correction"))
        measures[name] = asdict(copy_measures(*texts))
    return measures
