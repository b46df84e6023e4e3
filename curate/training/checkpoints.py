"""Checkpoints of a training that is under way: whole folders with all that the next step depends on.

    checkpoints/correct-00000120/     trained weights, optimiser (with the states of random generators), state.json
    checkpoints/warm-up/              the model after the warm-up (of LoRA also the adapters), and the curve so far

A folder is written under another name, synced and renamed: one that is there is whole. `state.json` says what the
training depends on; other data, another template or other settings are refused.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from curate.store.atomic import publish_folder, remove_folder
from schemas.errors import StageError

STATE, WEIGHTS, OPTIMISER = "state.json", "weights.safetensors", "optimiser.safetensors"
SCRATCH = ".scratch"


@dataclass(frozen=True, slots=True)
class Every:
    """When a checkpoint is due, and how many are kept. None: never by that measure."""

    minutes: float | None
    steps: int | None
    kept: int


class Checkpoints:
    """The checkpoints of one training in one folder.

    identity: all that its result depends on, by name, as JSON holds it. Raises StageError, which lists what differs,
    where the folder holds a training of another identity.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], every: Every) -> None:
        self._folder, self._identity, self._every = folder, dict(identity), every
        self._saved_at = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        remove_folder(folder / SCRATCH)
        for found in _whole(folder):
            self._check(found)

    def resume(self, phase: str, model: Any, optimiser: torch.optim.Optimizer) -> tuple[int, list[dict[str, Any]]]:
        """Put the newest state of a phase into model, optimiser and random generators; its steps and curve."""
        newest = self._newest(phase)
        if newest is None:
            return 0, []
        read_weights(model, newest)
        _set_optimiser(optimiser, load_file(newest / OPTIMISER))
        state = _state(newest)
        return state["step"], state["curve"]

    def steps(self, phase: str) -> int:
        """Steps of a phase that need not be done again."""
        newest = self._newest(phase)
        return 0 if newest is None else int(_state(newest)["step"])

    def is_due(self, step: int) -> bool:
        """Whether the state after this step should be saved."""
        every = self._every
        is_time = every.minutes is not None and time.monotonic() - self._saved_at >= every.minutes * 60
        return is_time or (every.steps is not None and step % every.steps == 0)

    def save(
        self, phase: str, step: int, model: Any, optimiser: torch.optim.Optimizer, curve: Sequence[Mapping[str, Any]]
    ) -> None:
        """Save the state after a step of a phase, then remove the phase's older ones but for those that are kept."""
        with self._appearing(f"{phase}-{step:08d}", {"phase": phase, "step": step, "curve": list(curve)}) as scratch:
            write_weights(model, scratch)
            save_file(_optimiser_tensors(optimiser), scratch / OPTIMISER)
        for old in sorted(self._folder.glob(f"{phase}-[0-9]*"))[: -self._every.kept]:
            _remove(old)
        self._saved_at = time.monotonic()

    def finished(self, phase: str) -> tuple[Path, list[dict[str, Any]]] | None:
        """The folder and the curve of a phase that came to its end."""
        folder = self._folder / phase
        return (folder, _state(folder)["curve"]) if folder.exists() else None

    @contextmanager
    def finishing(self, phase: str, curve: Sequence[Mapping[str, Any]]) -> Iterator[Path]:
        """A folder to write what the finished phase leaves; its checkpoints go when that is whole."""
        with self._appearing(phase, {"phase": phase, "step": None, "curve": list(curve)}) as scratch:
            yield scratch
        for old in sorted(self._folder.glob(f"{phase}-[0-9]*")):
            _remove(old)

    def _newest(self, phase: str) -> Path | None:
        return max(self._folder.glob(f"{phase}-[0-9]*"), default=None)

    @contextmanager
    def _appearing(self, name: str, state: Mapping[str, Any]) -> Iterator[Path]:
        scratch = self._folder / SCRATCH
        scratch.mkdir()
        yield scratch
        told = {"identity": self._identity, **state}
        (scratch / STATE).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        publish_folder(scratch, self._folder / name)

    def _check(self, found: Path) -> None:
        theirs = _state(found)["identity"]
        different = [
            f"{name}: {_shown(theirs.get(name))} there, {_shown(self._identity.get(name))} now"
            for name in sorted(theirs.keys() | self._identity.keys())
            if theirs.get(name) != self._identity.get(name)
        ]
        if different:
            raise StageError(
                f"{found} is of a training that differs from this one: {'; '.join(different)}",
                do="undo the change to go on with it, or start anew: curate run --stage train --again",
            )


def write_weights(model: Any, folder: Path) -> None:
    """Write the weights that are trained; frozen ones are those of the base."""
    trained = {name: one.detach().contiguous() for name, one in model.named_parameters() if one.requires_grad}
    save_file(trained, folder / WEIGHTS)


def read_weights(model: Any, folder: Path) -> None:
    """Put the weights of all safetensors files in a folder into a model of the same make.

    Raises StageError where one that is trained is not among them.
    """
    missing = {name for name, one in model.named_parameters() if one.requires_grad}
    for path in sorted(folder.glob("*.safetensors")):
        if path.name != OPTIMISER:
            tensors = load_file(path)
            model.load_state_dict(tensors, strict=False)
            missing -= tensors.keys()
    if missing:
        raise StageError(
            f"{folder} holds no {min(missing)}", do="start anew: curate run --stage train --again removes checkpoints"
        )


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors = {
        f"{number}.{name}": value.contiguous()
        for number, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    return tensors


def _set_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(tensors.pop("random"))
    if (cuda := tensors.pop("random.cuda", None)) is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda)
    whole = optimiser.state_dict()
    whole["state"] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        whole["state"].setdefault(int(number), {})[key] = value
    optimiser.load_state_dict(whole)


def _whole(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"[!.]*/{STATE}"))


def _state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(f"{folder / STATE} is damaged: {error}", do=f"remove {folder}") from error
    return state


def _remove(folder: Path) -> None:
    """Rename first: a kill in the middle must leave no folder that looks whole."""
    scratch = folder.with_name(SCRATCH)
    folder.rename(scratch)
    remove_folder(scratch)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:16]}…"
