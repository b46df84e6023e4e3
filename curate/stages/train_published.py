"""What a training publishes: its models, what the Aligner tells of itself, the curve. Nothing of times."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from curate.stages.train_start import MODEL, Parent, Start
from curate.store.releases import manifest_of
from curate.store.run import Draft, RunStore
from curate.training.places import ADAPTER

if TYPE_CHECKING:
    from curate.stages.train_rows import Data
    from curate.training.job import Job
    from curate.training.loop import Line
    from curate.training.settings import Settings

WARMUP, CORRECT = "warm-up", "correct"
COPY_MODEL = "copy"
"""Beside the trained model: the model after the warm-up, which is the copy baseline of evaluation."""

NOT_TOLD = ("base", "template", "device")
"""Settings that stand elsewhere in `aligner.json`, or change no result."""


def release_of(store: RunStore) -> dict[str, Any]:
    """The release whose rows are learned from."""
    release = manifest_of(store.workdir / "releases" / str(store.published("release").notes["version"]))
    return {key: release[key] for key in ("name", "version", "content_root", "rows", "splits")}


def told(
    release: Mapping[str, Any],
    start: Start,
    parent: Parent | None,
    settings: "Settings",
    data: "Data",
    curve: "Sequence[Line]",
    parameters: int,
) -> dict[str, Any]:
    """The rest of `aligner.json`, beside the template. Losses are means in nats per target token."""
    phases = {WARMUP: data.copies, CORRECT: data.rows}
    values = asdict(settings)
    if settings.lora is not None:
        del values["lora"]["base"]
    origin = {"base": start.told, "is_local_base": start.is_local}
    return {
        **(origin if parent is None else parent.told()),
        "parameters": parameters,
        "release": dict(release),
        "settings": {name: value for name, value in values.items() if name not in NOT_TOLD},
        "too_long": len(data.too_long),
        "metrics": {
            phase: {"rows": len(rows), **_figures([asdict(point) for point in curve if point.phase == phase])}
            for phase, rows in phases.items()
            if any(point.phase == phase for point in curve)
        },
    }


def title(preset: str, told: Mapping[str, Any]) -> str:
    """Of the picture of the loss curve. told: what `told` gives."""
    base = f" from {told['base']}" if told["base"] else ""
    return f"Aligner ({preset}{base}), release {told['release']['version']}"


def publish_models(draft: Draft, job: "Job", told: Mapping[str, Any]) -> None:
    """The Aligner with its card, the model after the warm-up, and LoRA's adapter, if there is one."""
    from curate.training import aligner

    for name, phase in ((COPY_MODEL, WARMUP), (MODEL, CORRECT)):
        shutil.copytree(job.model(phase), draft.scratch / name, copy_function=_linked)
    aligner.describe(draft.scratch / COPY_MODEL, job.settings.template)
    aligner.publish(draft.scratch / MODEL, job.settings.template, told)
    if job.settings.lora is not None:
        shutil.copytree(job.adapter(CORRECT), draft.scratch / ADAPTER, copy_function=_linked)


def publish_curve(draft: Draft, curve: "Sequence[Line]", title: str) -> None:
    """The curve without samples, as lines and as a picture."""
    from curate.training.curve_plot import plot
    from curate.training.samples import Sample

    lines = [asdict(line) for line in curve if not isinstance(line, Sample)]
    draft.file("curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    draft.file("curve.svg").write_text(plot(lines, title), encoding="utf-8")


def _linked(source: str, target: str) -> str:
    """A second name of the same file: models are large. A copy where the file system has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _figures(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    losses = [line["loss"] for line in lines if "loss" in line]
    return {
        "steps": len(losses),
        "last_loss": round(losses[-1], 4),
        "held_out_losses": [round(line["held_out_loss"], 4) for line in lines if "held_out_loss" in line],
    }
