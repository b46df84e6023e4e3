"""A training as a whole: its phases in order, each from its newest checkpoint; by one process, or by several.

Several read it from a folder, as they share no memory:

    job/job.json               settings, phases, what the training depends on
    job/rows.safetensors       ids of all rows, one after the other
    job/start/                 model and tokenizer, where the training starts from scratch
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from curate.store.atomic import remove_folder
from curate.training import models
from curate.training.chat import chat_template
from curate.training.checkpoints import Checkpoints, Every, read_weights
from curate.training.loop import Aside, HeldOut, Point, point_of, train
from curate.training.ranks import ALONE, Ranks
from curate.training.settings import Settings
from curate.training.sharding import gathered
from curate.training.speed import StepLog
from curate.training.templates import Template
from curate.training.tokens import TokenRow

JOB, ROWS, START = "job.json", "rows.safetensors", "start"
MODEL = "model"
CHECKPOINTS, STEPS = "checkpoints", "steps.jsonl"


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a training, with the rows that it learns from and those that it is measured on."""

    name: str
    epochs: float
    rows: list[TokenRow]
    held_out: list[TokenRow]


@dataclass(frozen=True, slots=True)
class Job:
    """All that a training is. home: the stage's folder. identity: what the result depends on, by name."""

    settings: Settings
    phases: tuple[Phase, ...]
    identity: Mapping[str, Any]
    every: Every
    home: Path

    def checkpoints(self, ranks: Ranks = ALONE) -> Checkpoints:
        """Where the training can go on. Raises StageError where they are of another one."""
        return Checkpoints(self.home / CHECKPOINTS, self.identity, self.every, ranks)

    def curve(self) -> list[Point | HeldOut]:
        """Of a training that has ended: all phases."""
        finished = (self.checkpoints().finished(phase.name) for phase in self.phases)
        return [point_of(line) for _, lines in filter(None, finished) for line in lines]

    def model(self, phase: str) -> Path:
        """Of a phase that has ended: the folder of the model that it left, with its tokenizer."""
        return self.home / CHECKPOINTS / phase / MODEL


def do(job: Job, model: Any, tokenizer: Any, say: Callable[[str], None], ranks: Ranks = ALONE) -> None:
    """Train what is left of each phase; each leaves its model and curve among the checkpoints.

    say: told of each step. Raises StageError.
    """
    checkpoints = job.checkpoints(ranks)
    tokenizer.chat_template = chat_template(job.settings.template, tokenizer)
    log = StepLog(job.home / STEPS) if ranks.is_first else None
    for phase in job.phases:
        if checkpoints.finished(phase.name) is not None:
            read_weights(model, job.model(phase.name))
            continue
        aside = Aside(checkpoints, log, phase.held_out)
        curve = train(model, phase.rows, phase.epochs, job.settings, phase.name, say, aside, ranks)
        weights = gathered(model, ranks)
        if ranks.is_first:
            with checkpoints.finishing(phase.name, [asdict(point) for point in curve]) as folder:
                models.save(model, tokenizer, folder / MODEL, weights)
    if log is not None:
        log.close()


def write(job: Job, folder: Path) -> None:
    """Write the job for the processes that are to do it."""
    remove_folder(folder)
    folder.mkdir(parents=True)
    rows = [row for phase in job.phases for part in (phase.rows, phase.held_out) for row in part]
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
    }
    (folder / JOB).write_text(json.dumps(told), encoding="utf-8")


def read(folder: Path) -> Job:
    """What `write` wrote."""
    told = json.loads((folder / JOB).read_text(encoding="utf-8"))
    ids = iter(load_file(folder / ROWS)["ids"].tolist())
    template = Template(**{**told["settings"]["template"], "marks": tuple(told["settings"]["template"]["marks"])})
    settings = Settings(**{**told["settings"], "template": template, "betas": tuple(told["settings"]["betas"])})
    phases = tuple(
        Phase(one["name"], one["epochs"], _rows(one["rows"], ids), _rows(one["held_out"], ids))
        for one in told["phases"]
    )
    return Job(settings, phases, told["identity"], Every(**told["every"]), Path(told["home"]))


def _sizes(rows: Sequence[TokenRow]) -> list[tuple[str, int, int]]:
    return [(row.row_id, len(row.ids), row.prompt_tokens) for row in rows]


def _rows(sizes: Sequence[tuple[str, int, int]], ids: Iterator[int]) -> list[TokenRow]:
    return [TokenRow(row_id, list(islice(ids, count)), prompt_tokens) for row_id, count, prompt_tokens in sizes]
