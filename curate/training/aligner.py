"""A trained Aligner as a folder: weights and tokenizer as transformers reads them, how to ask it, its card."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from curate.training import models
from curate.training.card import card
from curate.training.chat import chat_template
from curate.training.folder import FILE, FORMAT, read_aligner_template
from curate.training.templates import Template


@dataclass(frozen=True)
class Aligner:
    """A model that reads question and answer in a template's words, and writes the correction."""

    model: Any
    tokenizer: Any
    template: Template


def save(aligner: Aligner, folder: Path, more: Mapping[str, Any] | None = None) -> None:
    """Write the folder, with the template as chat template. more: what else `aligner.json` is to tell."""
    aligner.tokenizer.chat_template = chat_template(aligner.template, aligner.tokenizer)
    models.save(aligner.model, aligner.tokenizer, folder)
    describe(folder, aligner.template, more)


def describe(folder: Path, template: Template, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make an Aligner of a folder with a model and a tokenizer: write `aligner.json`, and give what it holds."""
    told = {"format": FORMAT, "template": template.told(), **(more or {})}
    (folder / FILE).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return told


def publish(folder: Path, template: Template, more: Mapping[str, Any]) -> None:
    """`describe`, and a model card. more: base, release, settings and figures, as `card` names them."""
    text = card(describe(folder, template, more), has_chat_template=(folder / "chat_template.jinja").exists())
    (folder / "README.md").write_text(text, encoding="utf-8")


def load(folder: str, device: torch.device) -> Aligner:
    """Read a folder that `save` wrote. Raises StageError where it is none, or its template was changed since."""
    template = read_aligner_template(Path(folder))
    model, tokenizer = models.load(folder, device)
    return Aligner(model, tokenizer, template)
