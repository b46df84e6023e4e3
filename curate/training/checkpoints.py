"""Checkpoints of a training that is under way: whole folders with all that the next step depends on.

    checkpoints/correct-00000120/     weights that learn and optimiser in files of some gigabytes, state.json
    checkpoints/warm-up/              the model after the warm-up (of LoRA also the adapter), and the curve so far

A folder is written under another name, synced and renamed: one that is there is whole. `state.json` says what the
training depends on; other data, another template or other settings are refused. Weights in parts (sharding.py) are
gathered and written whole, one after the other, so a checkpoint does not depend on the number of processes.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from curate.store.atomic import publish_folder, remove_folder
from curate.training.models import writable
from curate.training.ranks import ALONE, Ranks
from curate.training.sharding import alike, gather, put, whole
from schemas.errors import StageError

STATE, WEIGHTS, OPTIMISER = "state.json", "weights", "optimiser"
SCRATCH = ".scratch"
FILE_BYTES = 4 << 30
"""Of tensors in one file: what is gathered in memory at once."""


@dataclass(frozen=True, slots=True)
class Every:
    """When a checkpoint is due, and how many are kept. None: never by that measure."""

    minutes: float | None
    steps: int | None
    kept: int


class Checkpoints:
    """The checkpoints of one training in one folder.

    identity: all that its result depends on, by name, as JSON holds it. Raises StageError, which lists what differs,
    where the folder holds a training of another identity. Of several processes all must call what saves and `is_due`.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], every: Every, ranks: Ranks = ALONE) -> None:
        self._folder, self._identity, self._every, self._ranks = folder, dict(identity), every, ranks
        self._saved_at = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        if ranks.is_first:
            remove_folder(folder / SCRATCH)
        for found in _whole(folder):
            self._check(found)

    def resume(self, phase: str, model: Any, optimiser: torch.optim.Optimizer) -> tuple[int, list[dict[str, Any]]]:
        """Put the newest state of a phase into model, optimiser and random generators; its steps and curve."""
        newest = self._newest(phase)
        if newest is None:
            return 0, []
        read_weights(model, newest, f"{WEIGHTS}*")
        _read_optimiser(optimiser, newest)
        state = _state(newest)
        return state["step"], state["curve"]

    def steps(self, phase: str) -> int:
        """Steps of a phase that need not be done again."""
        newest = self._newest(phase)
        return 0 if newest is None else int(_state(newest)["step"])

    def is_due(self, step: int, device: torch.device) -> bool:
        """Whether the state after this step should be saved; the first process's clock decides for all."""
        every = self._every
        if every.steps is not None and step % every.steps == 0:
            return True
        is_time = every.minutes is not None and time.monotonic() - self._saved_at >= every.minutes * 60
        return self._ranks.total([float(is_time and self._ranks.is_first)], device) == [1.0]

    def save(
        self, phase: str, step: int, model: Any, optimiser: torch.optim.Optimizer, curve: Sequence[Mapping[str, Any]]
    ) -> None:
        """Save the state after a step of a phase, then remove the phase's older ones but for those that are kept."""
        kinds: dict[str, list[tuple[str, torch.Tensor]]] = {
            WEIGHTS: [(name, one) for name, one in model.named_parameters() if one.requires_grad],
            OPTIMISER: _moments(optimiser),
        }
        if not self._ranks.is_first:
            for _, one in chain.from_iterable(kinds.values()):
                gather(one)
            return
        with self._appearing(f"{phase}-{step:08d}", {"phase": phase, "step": step, "curve": list(curve)}) as scratch:
            for kind, tensors in kinds.items():
                _write(((name, whole(one)) for name, one in tensors), scratch, kind)
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
        told = {"identity": self._identity, "files": _sizes(scratch), **state}
        (scratch / STATE).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        publish_folder(scratch, self._folder / name)

    def _check(self, found: Path) -> None:
        state = _state(found)
        theirs = state["identity"]
        if state["files"] != _sizes(found):
            raise _damaged(found, "its files are not those that were saved")
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


def read_weights(model: Any, folder: Path, pattern: str = "*") -> None:
    """Put the weights of all safetensors files in a folder into a model of the same make.

    Raises StageError where one that learns is not among them.
    """
    parameters = dict(model.named_parameters())
    missing = {name for name, one in parameters.items() if one.requires_grad}
    with torch.no_grad():
        for name, tensor in _read(folder, pattern):
            if name in parameters:
                put(parameters[name], tensor)
                missing.discard(name)
    if missing:
        raise _damaged(folder, f"it holds no {min(missing)}")


def _moments(optimiser: torch.optim.Optimizer) -> list[tuple[str, torch.Tensor]]:
    state = optimiser.state_dict()["state"]
    return [(f"{number}.{name}", value) for number, values in state.items() for name, value in values.items()]


def _read_optimiser(optimiser: torch.optim.Optimizer, folder: Path) -> None:
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state = optimiser.state_dict()
    state["state"] = {}
    for place, tensor in _read(folder, f"{OPTIMISER}*"):
        number, _, name = place.partition(".")
        state["state"].setdefault(int(number), {})[name] = alike(tensor, parameters[int(number)])
    if state["state"].keys() != {number for number, one in enumerate(parameters) if one.requires_grad}:
        raise _damaged(folder, "moments of the optimiser are missing")
    optimiser.load_state_dict(state)


def _write(tensors: Iterator[tuple[str, torch.Tensor]], folder: Path, kind: str) -> None:
    """Files of about FILE_BYTES, so that memory holds no more."""
    number, part = 0, dict(islice(tensors, 1))
    with writable(folder):
        for name, tensor in tensors:
            if sum(one.nbytes for one in part.values()) + tensor.nbytes > FILE_BYTES:
                save_file(part, folder / f"{kind}-{number:05d}.safetensors")
                number, part = number + 1, {}
            part[name] = tensor
        save_file(part, folder / f"{kind}-{number:05d}.safetensors")


def _read(folder: Path, pattern: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and tensor, one at a time, of the files that `_write` or transformers wrote."""
    for path in sorted(folder.glob(f"{pattern}.safetensors")):
        try:
            file: Any = safe_open(path, "pt")
        except SafetensorError as error:
            raise _damaged(path, str(error)) from error
        with file:
            yield from ((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118 - it is no mapping


def _whole(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"[!.]*/{STATE}"))


def _state(folder: Path) -> dict[str, Any]:
    kinds = {"identity": dict, "files": dict, "phase": str, "step": (int, type(None)), "curve": list}
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        is_right = all(isinstance(state[name], kind) for name, kind in kinds.items())  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder / STATE, f"{type(error).__name__}: {error}") from error
    if not is_right:
        raise _damaged(folder / STATE, "a value is of another kind")
    return state


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file but `state.json`, by its name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / STATE)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _damaged(place: Path, why: str) -> StageError:
    return StageError(
        f"{place} is damaged: {why}", do="start anew: curate run --stage train --again removes checkpoints"
    )


def _remove(folder: Path) -> None:
    """Rename first: a kill in the middle must leave no folder that looks whole."""
    scratch = folder.with_name(SCRATCH)
    folder.rename(scratch)
    remove_folder(scratch)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:16]}…"
