"""What a published Aligner tells of itself: release, settings and figures, nothing of times."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.store.releases import manifest_of
from curate.store.run import RunStore

if TYPE_CHECKING:
    from curate.stages.train_rows import Data
    from curate.training.loop import HeldOut, Point
    from curate.training.settings import Settings

NOT_TOLD = {"base", "template", "device"}
"""Settings that stand elsewhere in `aligner.json`, or change no result."""


def release_of(store: RunStore) -> dict[str, Any]:
    """The release whose rows are learned from."""
    release = manifest_of(store.workdir / "releases" / str(store.published("release").notes["version"]))
    return {key: release[key] for key in ("name", "version", "content_root", "rows", "splits")}


def told(
    release: Mapping[str, Any],
    settings: "Settings",
    data: "Data",
    curve: "Sequence[Point | HeldOut]",
    parameters: int,
) -> dict[str, Any]:
    """The rest of `aligner.json`, beside the template. Losses are means in nats per target token."""
    phases = {"warm-up": data.copies, "correct": data.rows}
    return {
        "base": settings.base,
        "is_local_base": settings.base is not None and Path(settings.base).exists(),
        "parameters": parameters,
        "release": dict(release),
        "settings": {one.name: getattr(settings, one.name) for one in fields(settings) if one.name not in NOT_TOLD},
        "too_long": len(data.too_long),
        "metrics": {
            phase: {"rows": len(rows), **_figures([asdict(point) for point in curve if point.phase == phase])}
            for phase, rows in phases.items()
            if any(point.phase == phase for point in curve)
        },
    }


def _figures(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    losses = [line["loss"] for line in lines if "loss" in line]
    return {
        "steps": len(losses),
        "last_loss": round(losses[-1], 4),
        "held_out_losses": [round(line["held_out_loss"], 4) for line in lines if "held_out_loss" in line],
    }
