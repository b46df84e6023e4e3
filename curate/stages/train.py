"""Train: the Aligner learns from the released training rows, first to copy (Q-A-A), then to correct (Q-A-C)."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline, TrainConfig
from curate.progress import Progress
from curate.stages.train_published import CORRECT, WARMUP, publish_curve, publish_models, release_of, title, told
from curate.stages.train_rows import data_of, released, samples, texts, to_learn, used, verdicts
from curate.stages.train_start import MODEL, STAGE, parent_of, start_of
from curate.store.atomic import remove_folder
from curate.store.run import RunStore
from curate.training.folder import write_learned
from curate.training.places import CHECKPOINTS, JOB
from schemas.errors import MissingExtraError, StageError

if TYPE_CHECKING:
    import torch

    from curate.training.job import Job
    from curate.training.launching import Processes
    from curate.training.settings import Settings

NAME = STAGE
VERSION = 4
SMALL = 10_000_000
"""Weights of a model for which more threads than one only wait for each other."""

BESIDE = {
    *("device", "processes", "machines", "rendezvous"),
    *("checkpoint_minutes", "checkpoint_steps", "checkpoints_kept", "max_too_long_share", "tensorboard"),
}
"""Settings that change no result but for rounding and how sequences are filled."""

GIVEN = {
    *("epochs", "lr_peak", "rows_per_step", "tokens_per_step", "tokens_per_batch", "max_tokens"),
    *("activation_checkpointing", "compile", "evaluate_steps", "samples"),
}


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """The triples' content and every setting that the result depends on."""
    config, start = pipeline.config.train, start_of(pipeline)
    return {
        "stage": NAME,
        "version": VERSION,
        "triples": store.published("release").content("triples"),
        "seed": pipeline.config.seed,
        "settings": {**config.model_dump(mode="json", exclude=BESIDE), **start.settings()},
        "template": start.template.template_id,
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Train and publish the model, the copy model, the loss curve and the table of rows that were used.

    A run that was killed goes on from its newest checkpoint. Raises StageError where the checkpoints are of other data,
    another template or other settings.
    """
    try:
        from curate.training import models
        from curate.training.board import require_board
        from curate.training.checkpoints import Every
        from curate.training.job import Job, Phase
        from curate.training.samples import Sample, shown
    except ImportError as error:
        raise MissingExtraError("training", "torch and transformers", "train") from error

    config, start, settings = pipeline.config.train, start_of(pipeline), settings_of(pipeline)
    held_out = released(store, "validation")
    found, validation = (texts(one, settings.template) for one in (released(store, "train"), held_out))
    if not found.row_ids:
        raise StageError("the release holds no training rows", do="look at `curate status`: where did the rows go?")
    device = models.chosen_device(settings.device)
    with store.draft(NAME, key, unit="triple", kept="rows") as draft:
        if config.tensorboard:
            require_board()
        parent = None if start.parent is None else parent_of(start.parent)
        learned = frozenset() if parent is None else parent.learned
        training = found if parent is None else to_learn(found, parent, pipeline, start, progress)
        validation = validation.only(set(validation.row_ids).difference(learned or ()))
        tokenizer = models.start_tokenizer(settings, [*training.prompts, *training.corrections])
        data = data_of(tokenizer, training, validation, settings, config.max_too_long_share)
        epochs = 1.0 if settings.base else settings.epochs
        answers = dict(held_out.select("triple_id", "answer").iter_rows())
        job = Job(
            settings,
            (
                Phase(WARMUP, epochs, data.copies, data.held_out_copies),
                Phase(CORRECT, settings.epochs, data.rows, data.held_out),
            ),
            {**_flat(key), "rows": data.content()},
            Every(config.checkpoint_minutes, config.checkpoint_steps, config.checkpoints_kept),
            draft.home,
            shown(data.held_out, data.held_out_copies, answers, settings.samples, settings.max_tokens),
            config.tensorboard,
        )
        processes = _processes(config, device, is_tiny=settings.base is None)
        progress.say(f"training on {device}{processes} from {start.name or 'scratch'}, {len(training.row_ids):,} rows")
        _train(job, tokenizer, processes, device, progress)
        curve = job.curve()
        parameters = models.parameters_in(job.model(CORRECT))
        more = told(release_of(store), start, parent, settings, data, curve, parameters)
        publish_models(draft, job, more)
        if learned is not None:
            write_learned(learned.union(row.row_id for row in data.rows), draft.scratch / MODEL)
        publish_curve(draft, curve, title(config.preset, more))
        draft.write("rows", used(data))
        draft.write("samples", samples([line for line in curve if isinstance(line, Sample)], held_out))
        left_out = set(found.row_ids).difference(training.row_ids)
        draft.write("verdicts", verdicts(data, settings.max_tokens, left_out))
        draft.publish(
            rows_in=len(found.row_ids),
            notes={
                "steps": sum(figures["steps"] for figures in more["metrics"].values()),
                "parameters": parameters,
                "last_loss": more["metrics"][CORRECT]["last_loss"],
                "warmup_rows": len(data.copies),
            },
        )


def settle(store: RunStore) -> None:
    """Remove the checkpoints of the training that was published; those of another one, or unreadable ones, stay."""
    remove_folder(store.workdir / NAME / JOB)
    folder, manifest = store.workdir / NAME / CHECKPOINTS, store.manifest(NAME)
    states = sorted(folder.glob("[!.]*/state.json"))
    try:
        identity = json.loads(states[0].read_text(encoding="utf-8"))["identity"] if states else {}
    except (ValueError, KeyError, TypeError):
        return
    if not states or (manifest is not None and {**identity, **_flat(manifest.key)} == identity):
        remove_folder(folder)


def forget(store: RunStore) -> None:
    """Remove all checkpoints: the stage is to run from its start."""
    for name in (CHECKPOINTS, JOB):
        remove_folder(store.workdir / NAME / name)


def settings_of(pipeline: Pipeline) -> "Settings":
    """The preset's settings with what the configuration gives."""
    from curate.training.settings import Lora, settings

    config, start = pipeline.config.train, start_of(pipeline)
    return settings(
        config.preset,
        start.template,
        start.warmup_share,
        pipeline.config.seed,
        config.device,
        base=start.base,
        lora=None if config.lora is None else Lora(**config.lora.model_dump(), base=start.told or ""),
        **config.model_dump(include=GIVEN),
    )


def _processes(config: TrainConfig, device: "torch.device", *, is_tiny: bool) -> "Processes":
    """As configured; else one for each GPU that torch sees here, or one on the CPU or from scratch.

    Raises StageError where there are fewer GPUs.
    """
    import torch

    from curate.training.launching import Processes

    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    if gpus and (config.processes or 0) > gpus:
        raise StageError(f"train.processes = {config.processes}, but torch sees {gpus} GPUs here", do="lower it")
    here = 1 if is_tiny else max(1, gpus)
    return Processes(config.processes or here, config.machines, config.rendezvous)


def _train(job: "Job", tokenizer: Any, processes: "Processes", device: "torch.device", progress: Progress) -> None:
    """Train what is left of both phases, in this process or in several."""
    import torch

    from curate.training import job as jobs
    from curate.training import models
    from curate.training.launching import launch
    from curate.training.memory import enough_memory

    checkpoints = job.checkpoints()
    for phase in job.phases:
        if checkpoints.finished(phase.name) is not None:
            progress.say(f"{phase.name}: it is finished and was kept")
        elif steps := checkpoints.steps(phase.name):
            progress.say(f"{phase.name}: going on after step {steps}")
    if all(checkpoints.finished(phase.name) is not None for phase in job.phases):
        return
    if processes.count == 1:
        with enough_memory("the weights in float32"):
            model = models.start_model(job.settings, tokenizer)
            if sum(parameter.numel() for parameter in model.parameters()) < SMALL:
                torch.set_num_threads(1)
            model = model.to(device)
        jobs.do(job, model, tokenizer, jobs.Voice(progress.update, progress.say))
        return
    folder = job.home / JOB
    jobs.write(job, folder)
    if job.settings.base is None:
        models.save(models.start_model(job.settings, tokenizer), tokenizer, folder / jobs.START)
    try:
        launch(processes, folder, progress.say, progress.update)
    finally:
        remove_folder(folder)


def _flat(key: Mapping[str, Any]) -> dict[str, Any]:
    """What the stage's key names, on one level: what a user finds in `pipelines.toml`."""
    settings: dict[str, Any] = {}
    for name, value in key["settings"].items():
        parts = value if isinstance(value, dict) else {"": value}
        settings.update({f"train.{name}.{part}".rstrip("."): one for part, one in parts.items()})
    return {**{name: value for name, value in key.items() if name != "settings"}, **settings}
