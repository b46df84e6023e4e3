"""An Aligner's folder without its model: the template, what it learned from, its id. Nothing heavy is loaded."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curate.identity import content_id, file_hash
from curate.training.templates import Template, template_of
from schemas.errors import ConfigError, StageError

FILE = "aligner.json"
FORMAT = 1
LEARNED = "learned.txt"
"""The ids of all triples that the Aligner and those before it learned from, one a line, sorted."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError)
"""What reading a file raises that is not ours, or no longer."""

ID = re.compile("[0-9a-f]{32}")


def read_aligner_template(folder: Path) -> Template:
    """The template of an Aligner, checked against its id. Raises StageError."""
    path = folder / FILE
    try:
        found = read_told(folder)["template"]
        expected = found.pop("template_id")
        template = template_of(found, str(path))
    except UNREADABLE as error:
        raise StageError(
            f"{folder} is no Aligner: {FILE} cannot be read ({type(error).__name__}: {error})",
            do="name the folder that `curate run --stage train` published",
        ) from error
    if template.template_id != expected:
        raise StageError(
            f"the template in {path} is not the one that the Aligner learned with (its id is {template.template_id}, "
            f"{expected} is written there)",
            do="put the text back as it was trained, or train anew with the other one",
        )
    return template


def read_told(folder: Path) -> dict[str, Any]:
    """What `aligner.json` says."""
    told: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return told


def aligner_id(folder: Path) -> str:
    """Content id of all files: reads them. Raises StageError where the folder is no Aligner."""
    read_aligner_template(folder)
    return content_id("aligner", [[path.name, file_hash(path)] for path in sorted(folder.iterdir()) if path.is_file()])


def read_learned(folder: Path) -> frozenset[str] | None:
    """The ids of the triples that an Aligner learned from; None where it does not say. Raises StageError."""
    path = folder / LEARNED
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if wrong := next((number for number, line in enumerate(lines, 1) if not ID.fullmatch(line)), None):
        raise StageError(f"{path} is damaged: line {wrong} holds no id", do="copy the Aligner's folder anew")
    return frozenset(lines)


def write_learned(triple_ids: Iterable[str], folder: Path) -> None:
    """Keep with an Aligner what it learned from."""
    (folder / LEARNED).write_text("".join(f"{one}\n" for one in sorted(triple_ids)), encoding="utf-8")
