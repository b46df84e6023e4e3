"""A trained Aligner as a folder: weights and tokenizer as transformers reads them, and `aligner.json` on how to ask."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from curate.training import models
from curate.training.folder import FILE, FORMAT, read_aligner_template
from curate.training.templates import Template


@dataclass(frozen=True)
class Aligner:
    """A model that reads question and answer in a template's words, and writes the correction."""

    model: Any
    tokenizer: Any
    template: Template


def save(aligner: Aligner, folder: Path, more: Mapping[str, Any] | None = None) -> None:
    """Write the folder. more: what else `aligner.json` is to tell, such as the release and metrics."""
    models.save(aligner.model, aligner.tokenizer, folder)
    describe(folder, aligner.template, more)


def describe(folder: Path, template: Template, more: Mapping[str, Any] | None = None) -> None:
    """Make an Aligner of a folder with a model and a tokenizer: write `aligner.json`."""
    told = {"format": FORMAT, "template": template.told(), **(more or {})}
    (folder / FILE).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder: str, device: torch.device) -> Aligner:
    """Read a folder that `save` wrote. Raises StageError where it is none, or its template was changed since."""
    template = read_aligner_template(Path(folder))
    model, tokenizer = models.load(folder, device)
    return Aligner(model, tokenizer, template)
