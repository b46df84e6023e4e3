"""Train: the Aligner learns from the released training rows, first to copy (Q-A-A), then to correct (Q-A-C)."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline, TrainConfig
from curate.progress import Progress
from curate.stages.train_rows import Texts, data_of, used, verdicts
from curate.stages.train_told import release_of, told
from curate.store.atomic import remove_folder
from curate.store.run import RunStore
from curate.training.templates import Template, read_template
from schemas.errors import MissingExtraError, StageError

if TYPE_CHECKING:
    import polars as pl
    import torch

    from curate.training.job import Job
    from curate.training.launching import Processes
    from curate.training.settings import Settings

NAME = "train"
VERSION = 4
MODEL, COPY_MODEL = "aligner", "copy"
"""Folders of the trained model, and of the model after the warm-up, which is the copy baseline of evaluation."""

WARMUP, CORRECT = "warm-up", "correct"
CHECKPOINTS, JOB = "checkpoints", "job"
"""What lies in the stage's folder while it is at work: where it can go on, and what several processes read."""

BESIDE = {
    *("device", "processes", "machines", "rendezvous"),
    *("checkpoint_minutes", "checkpoint_steps", "checkpoints_kept", "max_too_long_share"),
}
"""Settings that change no result but for rounding."""

GIVEN = {
    *("base", "epochs", "lr_peak", "rows_per_step", "tokens_per_step", "tokens_per_batch", "max_tokens"),
    *("activation_checkpointing", "compile"),
}


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """The triples' content and every setting that the result depends on."""
    config = pipeline.config.train
    return {
        "stage": NAME,
        "version": VERSION,
        "triples": store.published("release").content("triples"),
        "seed": pipeline.config.seed,
        "settings": config.model_dump(exclude=BESIDE),
        "template": read_template(config.template, pipeline.folder).template_id,
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Train and publish the model, the copy model, the loss curve and the table of rows that were used.

    A run that was killed goes on from its newest checkpoint. Raises StageError where the checkpoints are of other data,
    another template or other settings.
    """
    try:
        import torch

        from curate.training import aligner, models
        from curate.training.checkpoints import Every
        from curate.training.job import Job, Phase
    except ImportError as error:
        raise MissingExtraError("training", "torch and transformers", "train") from error

    config, settings = pipeline.config.train, settings_of(pipeline)
    training, validation = (_texts(store, split, settings.template) for split in ("train", "validation"))
    if not training.row_ids:
        raise StageError("the release holds no training rows", do="look at `curate status`: where did the rows go?")
    release, device = release_of(store), models.chosen_device(settings.device)
    if settings.base is None:
        torch.set_num_threads(1)  # at hidden size 64 more threads only wait for each other
    with store.draft(NAME, key, unit="triple", kept="rows") as draft:
        tokenizer = models.start_tokenizer(settings, [*training.prompts, *training.corrections])
        data = data_of(tokenizer, training, validation, settings, config.max_too_long_share)
        epochs = 1.0 if settings.base else settings.epochs
        job = Job(
            settings,
            (
                Phase(WARMUP, epochs, data.copies, data.held_out_copies),
                Phase(CORRECT, settings.epochs, data.rows, data.held_out),
            ),
            {**_flat(key), "rows": data.content()},
            Every(config.checkpoint_minutes, config.checkpoint_steps, config.checkpoints_kept),
            draft.home,
        )
        processes = _processes(config, device)
        progress.say(
            f"training on {device}{processes} from {settings.base or 'scratch'}, {len(training.row_ids):,} rows"
        )
        _train(job, tokenizer, processes, device, progress)
        curve = job.curve()
        points = [point for point in curve if not hasattr(point, "held_out_loss")]
        parameters = models.parameters_in(job.model(CORRECT))
        for name, phase in ((COPY_MODEL, WARMUP), (MODEL, CORRECT)):
            folder = draft.file(f"{name}/{aligner.FILE}").parent
            shutil.copytree(job.model(phase), folder, copy_function=_linked, dirs_exist_ok=True)
        aligner.describe(draft.scratch / COPY_MODEL, settings.template)
        aligner.publish(draft.scratch / MODEL, settings.template, told(release, settings, data, curve, parameters))
        lines = "".join(json.dumps(asdict(point)) + "\n" for point in curve)
        draft.file("curve.jsonl").write_text(lines, encoding="utf-8")
        draft.write("rows", used(data))
        draft.write("verdicts", verdicts(data, settings.max_tokens))
        draft.publish(
            rows_in=len(training.row_ids),
            notes={
                "steps": len(points),
                "parameters": parameters,
                "last_loss": round(points[-1].loss, 4),
                "warmup_rows": len(data.copies),
            },
        )


def settle(store: RunStore) -> None:
    """Remove the checkpoints of the training that was published; those of another one stay."""
    folder, manifest = store.workdir / NAME / CHECKPOINTS, store.manifest(NAME)
    states = sorted(folder.glob("[!.]*/state.json"))
    identity = json.loads(states[0].read_text(encoding="utf-8"))["identity"] if states else {}
    if not states or (manifest is not None and {**identity, **_flat(manifest.key)} == identity):
        remove_folder(folder)


def forget(store: RunStore) -> None:
    """Remove all checkpoints: the stage is to run from its start."""
    remove_folder(store.workdir / NAME / CHECKPOINTS)


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
        **config.model_dump(include=GIVEN),
    )


def rendered(triples: "pl.DataFrame", template: Template) -> list[str]:
    """What the Aligner reads for each row: earlier turns stand before the question."""
    return [
        template.prompt("\n".join([*(turn["text"] for turn in turns), question]), answer)
        for turns, question, answer in triples.select("turns", "question", "answer").iter_rows()
    ]


def _texts(store: RunStore, split: str, template: Template) -> Texts:
    """One split in the order of ids."""
    import polars as pl

    triples = store.table("release", "triples").filter(pl.col("split") == split).sort("triple_id").collect()
    answers, corrections = ([template.target(text) for text in triples[name]] for name in ("answer", "correction"))
    return Texts(triples["triple_id"].to_list(), rendered(triples, template), answers, corrections)


def _processes(config: TrainConfig, device: "torch.device") -> "Processes":
    """As configured; else one for each GPU that torch sees here, or one on the CPU."""
    import torch

    from curate.training.launching import Processes

    here = torch.cuda.device_count() if device.type == "cuda" else 1
    return Processes(config.processes or here, config.machines, config.rendezvous)


def _train(job: "Job", tokenizer: Any, processes: "Processes", device: "torch.device", progress: Progress) -> None:
    """Train what is left of both phases, in this process or in several."""
    from curate.training import job as jobs
    from curate.training import models
    from curate.training.launching import launch

    checkpoints = job.checkpoints()
    for phase in job.phases:
        if checkpoints.finished(phase.name) is not None:
            progress.say(f"{phase.name}: it is finished and was kept")
        elif steps := checkpoints.steps(phase.name):
            progress.say(f"{phase.name}: going on after step {steps}")
    if processes.count == 1:
        jobs.do(job, models.start_model(job.settings, tokenizer).to(device), tokenizer, progress.update)
        return
    folder = job.home / JOB
    jobs.write(job, folder)
    if job.settings.base is None:
        models.save(models.start_model(job.settings, tokenizer), tokenizer, folder / jobs.START)
    launch(processes, folder, progress.say, progress.update)
    remove_folder(folder)


def _flat(key: Mapping[str, Any]) -> dict[str, Any]:
    """What the stage's key names, on one level: what a user finds in `pipelines.toml`."""
    settings = {f"train.{name}": value for name, value in key["settings"].items()}
    return {**{name: value for name, value in key.items() if name != "settings"}, **settings}


def _linked(source: str, target: str) -> str:
    """A second name of the same file: models are large. A copy where the file system has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target
