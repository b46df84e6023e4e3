"""How question and answer are shown to the Aligner: named, versioned texts in circulation, and a team's own.

Sources: T1 the released 7B model, T2 the paper (matches no published code), T3 the repository since December 2024,
T4 the AlpacaEval entry of the 2B model, T5 a variant of T1. The wrapper is that of the reference code: no newline,
no space at its end; the correction follows at once.
"""

import tomllib
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from annotators.marks import Marks
from curate.identity import content_id
from schemas.errors import ConfigError

WRAPPER = "BEGINNING OF CONVERSATION: USER: {input} ASSISTANT:"
WRAPPER_MARKS = ("BEGINNING OF CONVERSATION:", "ASSISTANT:")
SLOTS = ("{question}", "{answer}")


@dataclass(frozen=True)
class Template:
    """What stands around question and answer, letter by letter. A new `version` says that its meaning changed.

    marks: texts by which a reader could tell where a part ends; question, answer and correction never hold them as they
    are (annotators/marks.py says how they are written instead).
    """

    name: str
    version: int
    text: str
    marks: tuple[str, ...] = ()

    @cached_property
    def template_id(self) -> str:
        """Content id of text and marks: stored with a checkpoint, so that it is never used with other words."""
        return content_id("training template", self.text, list(self.marks))

    @cached_property
    def _marks(self) -> Marks:
        return Marks(self.marks)

    def prompt(self, question: str, answer: str) -> str:
        """What the Aligner reads before it writes; slots in the texts themselves are plain text."""
        head, _, rest = self.text.partition(SLOTS[0])
        middle, _, tail = rest.partition(SLOTS[1])
        return head + self._marks.escaped(question) + middle + self._marks.escaped(answer) + tail

    def target(self, correction: str) -> str:
        """What the Aligner learns to write."""
        return self._marks.escaped(correction)

    def written(self, text: str) -> str:
        """The correction that the Aligner wrote: `target`, undone."""
        return self._marks.restored(text)

    def told(self) -> dict[str, Any]:
        """The template as plain values, with its id, for `aligner.json`."""
        return {**asdict(self), "marks": list(self.marks), "template_id": self.template_id}


def _wrapped(name: str, text: str, marks: tuple[str, ...] = ()) -> Template:
    return Template(name, 1, WRAPPER.replace("{input}", text), (*WRAPPER_MARKS, *marks))


TEMPLATES = {
    one.name: one
    for one in (
        _wrapped(
            "T1",
            "Edit the following Question-Answer pair to make it more helpful and harmless: {question} | {answer}",
        ),
        _wrapped(
            "T2",
            "Editing the following Question-Answer pair to make it more helpful and harmless:\n"
            "Question: {question} |\nAnswer: {answer}",
        ),
        _wrapped(
            "T3",
            "##Question: {question}\n##Answer: {answer}\n##Correction: ",
            ("##Question:", "##Answer:", "##Correction:"),
        ),
        _wrapped(
            "T4",
            "##Question: {question} ##Answer: {answer} ##Revision: ",
            ("##Question:", "##Answer:", "##Revision:"),
        ),
        _wrapped(
            "T5",
            "Edit the following Question-Answer pair to make it more empathic and helpful: {question} | {answer}",
        ),
    )
}


def read_template(name: str, folder: Path) -> Template:
    """The named template; a name that ends in .toml is a file of name, version, text and marks, relative to `folder`.

    Raises ConfigError where it is unknown or broken.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    if not name.endswith(".toml"):
        raise ConfigError(
            f"train.template: there is no template {name}", do=f"choose of {', '.join(TEMPLATES)}, or a file mine.toml"
        )
    try:
        found = tomllib.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"train.template: {name} cannot be read: {error}", do="correct the file") from error
    return template_of(found, name)


def template_of(found: Any, place: str) -> Template:
    """A template from plain values, of a file or of a checkpoint. Raises ConfigError, which names `place`."""
    kinds = {"name": str, "version": int, "text": str, "marks": list}
    known = {one.name for one in fields(Template)}
    if not isinstance(found, dict):
        raise ConfigError(f"{place}: no table of keys", do=_keys())
    if wrong := sorted(set(found) - known):
        raise ConfigError(f"{place}: unknown key {wrong[0]}", do=_keys())
    for key, kind in kinds.items():
        if not isinstance(found.get(key, [] if key == "marks" else None), kind):
            raise ConfigError(f"{place}: {key} is missing, or no {kind.__name__}", do=_keys())
    marks = found.get("marks", [])
    if not all(isinstance(mark, str) and mark for mark in marks):
        raise ConfigError(f"{place}: marks are texts that are not empty", do=_keys())
    text = found["text"]
    if [text.count(slot) for slot in SLOTS] != [1, 1] or text.index(SLOTS[0]) > text.index(SLOTS[1]):
        raise ConfigError(f"{place}: the text needs {' and '.join(SLOTS)} once each, in this order", do=_keys())
    return Template(found["name"], found["version"], text, tuple(marks))


def _keys() -> str:
    return 'give name = "…", version = 1, text = "… {question} … {answer} …" and marks = ["…"]'
