"""Templates: how a task is put into words for a model. They are data: versioned TOML files."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec

from annotators.marks import Marks
from annotators.principles import decoded, words_of
from schemas.errors import ConfigError
from schemas.records import Turn

OURS = files("annotators") / "texts" / "templates"
SLOT = re.compile(r"\{(rules|question|answer|critique|violations|first|second)\}")
CORRECTING = frozenset({"tagged", "bracketed", "json"})
NEEDED = {
    "violations": frozenset({"rules", "question", "answer"}),
    "verdicts": frozenset({"question", "first", "second"}),
}

CHAT_MARKS = (
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    *("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
)
"""Of Llama 2, ChatML and Llama 3, whose servers may take them for their own wherever they stand."""

Reply = Literal["tagged", "bracketed", "json", "violations", "verdicts"]


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Our words around a task. A new `version` says that its meaning changed.

    reply: how the reply is read (annotators/replies.py). marks: what question and answer may not hold as it is.
    marker: bracketed only, the line before the edit. critique: what stands at {critique} where there is one.
    reminder: added where an earlier reply could not be read.
    """

    name: str
    version: int
    reply: Reply
    system: str
    user: str
    reminder: str
    marks: tuple[str, ...] = ()
    marker: str = ""
    critique: str = ""

    def turns(self, fills: Mapping[str, str], *, is_asked_again: bool) -> list[Turn]:
        """A system turn and a user turn. Slots are filled once: what a text brings along is never a slot itself."""
        user = self.user + (self.reminder if is_asked_again else "")
        return [Turn("system", filled(self.system, fills)), Turn("user", filled(user, fills))]


def filled(text: str, fills: Mapping[str, str]) -> str:
    """The text with its slots replaced."""
    return SLOT.sub(lambda slot: fills[slot[1]], text)


def own_names() -> list[str]:
    """Names of the templates that come along."""
    return sorted(file.name.removesuffix(".toml") for file in OURS.iterdir())


def read_template(name: str, folder: Path, wanted: frozenset[str]) -> Template:
    """The named template; a name that ends in .toml is a file, relative to `folder`.

    wanted: the replies that will do. Raises ConfigError where it is unknown, broken, or made for something else.
    """
    content = words_of(name, folder, "template", {one: OURS / f"{one}.toml" for one in own_names()})
    template = decoded(content, Template, name)
    if template.reply not in wanted:
        raise ConfigError(
            f'the template {name} has reply = "{template.reply}"',
            do=f"name one whose reply is {' or '.join(sorted(wanted))}",
        )
    _check_slots(template, name)
    return template


def _check_slots(template: Template, name: str) -> None:
    slots = set(SLOT.findall(template.system + template.user + template.reminder))
    needed = NEEDED.get(template.reply, frozenset({"question", "answer"}))
    if template.critique:
        needed |= {"critique"}
    if missing := sorted(needed - set(SLOT.findall(template.system + template.user))):
        raise ConfigError(f"{name}: no slot for {', '.join(missing)}", do="write {" + missing[0] + "} where it belongs")
    known = needed | {"rules"} | ({"critique"} if template.reply in CORRECTING else set())
    in_critique = set(SLOT.findall(template.critique))
    if template.critique and "violations" not in in_critique:
        raise ConfigError(f"{name}: critique has no slot for violations", do="write {violations} where they belong")
    if short := [mark for mark in template.marks if len(mark) < 2]:
        raise ConfigError(f"{name}: the mark {short[0]!r} is too short", do="a mark needs two characters at least")
    if foreign := sorted((slots - known) | (in_critique - {"rules", "violations"})):
        raise ConfigError(f"{name}: nothing fills the slot {foreign[0]}", do=f"known: {', '.join(sorted(known))}")
    if template.reply == "bracketed" and not template.marker:
        raise ConfigError(f"{name}: a bracketed reply needs `marker`", do='such as marker = "##Corrected answer:"')


def marks_of(template: Template) -> Marks:
    """The template's marks, for escaping, and those of chat formats: a text could end its own turn with these."""
    return Marks([*template.marks, *CHAT_MARKS])
