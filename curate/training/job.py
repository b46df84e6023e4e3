"""A training as a whole: its phases in order, each from its newest checkpoint; by one process, or by several.

Several read it from a folder, as they share no memory:

    job/job.json               settings, phases, what the training depends on
    job/rows.safetensors       ids of all rows, one after the other
    job/start/                 model and tokenizer, where the training starts from scratch
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from curate.store.atomic import remove_folder
from curate.training import models
from curate.training.board import Board
from curate.training.chat import chat_template
from curate.training.checkpoints import Checkpoints, Every
from curate.training.logs import EvaluationsSaid, Logs
from curate.training.loop import Aside, Line, line_of, train
from curate.training.packing import steps_of
from curate.training.places import ADAPTER, BOARD, CHECKPOINTS, STEPS
from curate.training.ranks import ALONE, Ranks
from curate.training.rehearsal import rehearse
from curate.training.samples import Sampling, Shown
from curate.training.settings import Lora, Settings
from curate.training.sharding import gathered, hand_out
from curate.training.speed import StepLog
from curate.training.templates import Template
from curate.training.tokens import TokenRow
from schemas.errors import StageError

TOLD, ROWS, START = "job.json", "rows.safetensors", "start"
MODEL = "model"


@dataclass(frozen=True, slots=True)
class Voice:
    """Whom a training tells. say: how far it is, step by step; note: what must be seen."""

    say: Callable[[str], None]
    note: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a training, with the rows that it learns from and those that it is measured on."""

    name: str
    epochs: float
    rows: list[TokenRow]
    held_out: list[TokenRow]


@dataclass(frozen=True, slots=True)
class Job:
    """All that a training is. home: the stage's folder. identity: what the result depends on, by name.

    shown: the rows whose corrections are sampled. has_board: event files for TensorBoard are written.
    """

    settings: Settings
    phases: tuple[Phase, ...]
    identity: Mapping[str, Any]
    every: Every
    home: Path
    shown: Shown
    has_board: bool

    def checkpoints(self, ranks: Ranks = ALONE) -> Checkpoints:
        """Where the training can go on. Raises StageError where they are of another one."""
        return Checkpoints(self.home / CHECKPOINTS, self.identity, self.every, ranks)

    def curve(self) -> list[Line]:
        """Of a training that has ended: all phases."""
        finished = (self.checkpoints().finished(phase.name) for phase in self.phases)
        return [line_of(line) for _, lines in filter(None, finished) for line in lines]

    def log(self, voice: Voice) -> Logs:
        """Where its lines go as they happen."""
        boards = [Board(self.home / BOARD)] if self.has_board else []
        return Logs(StepLog(self.home / STEPS), *boards, EvaluationsSaid(voice.note, self.shown.answers))

    def model(self, phase: str) -> Path:
        """Of a phase that has ended: the folder of the model that it left, with its tokenizer."""
        return self.home / CHECKPOINTS / phase / MODEL

    def adapter(self, phase: str) -> Path:
        """Of a phase of LoRA that has ended: the folder of the adapter that it left."""
        return self.home / CHECKPOINTS / phase / ADAPTER


def do(job: Job, model: Any, tokenizer: Any, voice: Voice, ranks: Ranks = ALONE) -> None:
    """Train what is left of each phase; each leaves its model and curve among the checkpoints. Raises StageError."""
    checkpoints = job.checkpoints(ranks)
    tokenizer.chat_template = chat_template(job.settings.template, tokenizer)
    _agree(job, checkpoints, model, ranks)
    left = {
        phase.name: steps_of(phase.rows, phase.epochs, job.settings, phase.name, ranks.count)
        for phase in job.phases
        if checkpoints.finished(phase.name) is None
    }
    if steps := [step for name, own in left.items() for step in own[checkpoints.steps(name) :]]:
        highest = rehearse(model, steps, job.settings, ranks)
        if highest is not None:
            voice.note(f"the largest packs fit: {highest / 2**30:.1f} GiB")
    with closing(job.log(voice) if ranks.is_first else Logs()) as log:
        sampling = Sampling(job.shown, tokenizer, job.settings.template, job.settings.tokens_per_batch)
        before: str | None = None
        for phase in job.phases:
            if left.pop(phase.name, None) is None:
                before = phase.name
                continue
            if before is not None and not checkpoints.steps(phase.name):
                _read_finished(job, model, before, ranks)
            later = sum(step.tokens for own in left.values() for step in own)
            aside = Aside(checkpoints, log, phase.held_out, sampling, later)
            curve = train(model, phase.rows, phase.epochs, job.settings, phase.name, voice.say, aside, ranks)
            weights = gathered(model, ranks)
            if ranks.is_first:
                with checkpoints.finishing(phase.name, [asdict(line) for line in curve]) as folder:
                    models.save(model, tokenizer, folder / MODEL, weights)
                    _save_adapter(job.settings.lora, model, weights, folder / ADAPTER)


def write(job: Job, folder: Path) -> None:
    """Write the job for the processes that are to do it."""
    remove_folder(folder)
    folder.mkdir(parents=True)
    parts = [*(part for phase in job.phases for part in (phase.rows, phase.held_out)), job.shown.rows]
    rows = [row for part in parts for row in part]
    save_file({"ids": torch.tensor([number for row in rows for number in row.ids], dtype=torch.int32)}, folder / ROWS)
    told = {
        "settings": asdict(job.settings),
        "phases": [
            {"name": one.name, "epochs": one.epochs, "rows": _sizes(one.rows), "held_out": _sizes(one.held_out)}
            for one in job.phases
        ],
        "identity": job.identity,
        "every": asdict(job.every),
        "home": str(job.home.absolute()),
        "shown": {**asdict(job.shown), "rows": _sizes(job.shown.rows)},
        "has_board": job.has_board,
    }
    (folder / TOLD).write_text(json.dumps(told), encoding="utf-8")


def read(folder: Path) -> Job:
    """What `write` wrote."""
    told = json.loads((folder / TOLD).read_text(encoding="utf-8"))
    ids = iter(load_file(folder / ROWS)["ids"].tolist())
    phases = tuple(
        Phase(one["name"], one["epochs"], _rows(one["rows"], ids), _rows(one["held_out"], ids))
        for one in told["phases"]
    )
    shown = Shown(**{**told["shown"], "rows": _rows(told["shown"]["rows"], ids)})
    every, home = Every(**told["every"]), Path(told["home"])
    return Job(_settings(told["settings"]), phases, told["identity"], every, home, shown, told["has_board"])


def _agree(job: Job, checkpoints: Checkpoints, model: Any, ranks: Ranks) -> None:
    """Raises StageError where the processes would go on from different places: a shared folder may lag behind."""
    device = next(model.parameters()).device
    mine = [
        float(-1 if checkpoints.finished(phase.name) is not None else checkpoints.steps(phase.name))
        for phase in job.phases
    ]
    firsts = ranks.total([one if ranks.is_first else 0.0 for one in mine], device)
    if ranks.total([float(mine != firsts)], device) != [0.0]:
        raise StageError(
            f"train: the processes see different checkpoints in {job.home / CHECKPOINTS}",
            do="run again in a minute: a folder that machines share may show new files late",
        )


def _read_finished(job: Job, model: Any, phase: str, ranks: Ranks) -> None:
    if job.settings.lora is None:
        whole = models.load(str(job.model(phase)), torch.device("cpu"))[0] if ranks.is_first else None
        hand_out(whole, model, ranks)
        return
    from curate.training import lora

    lora.read(model, job.adapter(phase))


def _save_adapter(settings: Lora | None, model: Any, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    if settings is not None:
        from curate.training import lora

        lora.save(model, weights, settings.base, folder)


def _settings(told: dict[str, Any]) -> Settings:
    template = Template(**{**told["template"], "marks": tuple(told["template"]["marks"])})
    lora = told["lora"] and Lora(**{**told["lora"], "targets": tuple(told["lora"]["targets"])})
    return Settings(**{**told, "template": template, "betas": tuple(told["betas"]), "lora": lora})


def _sizes(rows: Sequence[TokenRow]) -> list[tuple[str, int, int]]:
    return [(row.row_id, len(row.ids), row.prompt_tokens) for row in rows]


def _rows(sizes: Sequence[tuple[str, int, int]], ids: Iterator[int]) -> list[TokenRow]:
    return [TokenRow(row_id, list(islice(ids, count)), prompt_tokens) for row_id, count, prompt_tokens in sizes]
