"""Texts, columns and lists of turns in parsed values, and where a dialogue asks for an answer. Pure."""

import difflib
from dataclasses import dataclass
from typing import Any

from curate.sources.readers import Broken
from schemas.records import Turn

ROLES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "system": "system",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RawPrompt:
    """A prompt as it stands in a file: the text to be answered and the turns before it."""

    text: str
    turns: tuple[Turn, ...] = ()


def column(row: Any, name: str) -> Any:
    """One column of a row; Broken, with the nearest name, where the row lacks it."""
    if not isinstance(row, dict):
        return Broken("wrong_shape", f"the row is {kind(row)}, not an object")
    if name not in row:
        near = difflib.get_close_matches(name, list(row), n=1, cutoff=0.5)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return Broken("missing_field", f'no field "{name}"; the row has: {", ".join(list(row)[:20])}{hint}')
    return row[name]


def whole_text(value: Any, what: str) -> str | Broken:
    """A text without the white space at its ends, which may be empty; Broken where the value is none."""
    if isinstance(value, Broken):
        return value
    if value is None:
        return Broken("null_field", f"{what} is null")
    if not isinstance(value, str):
        return Broken("wrong_type", f"{what} is {kind(value)}, not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return Broken("invalid_unicode", f"{what} holds half of a surrogate pair")
    return value.strip()


def prompt_of(value: Any) -> RawPrompt | Broken:
    """A prompt without earlier turns."""
    text = whole_text(value, "the prompt")
    if isinstance(text, Broken):
        return text
    return RawPrompt(text) if text else Broken("empty_prompt", "the prompt has no characters")


def turns_of(messages: Any, role: str, text: str) -> list[Turn] | Broken:
    """The turns of a list of messages, each an object that names its speaker under `role`."""
    if isinstance(messages, Broken):
        return messages
    if not isinstance(messages, list):
        return Broken("wrong_shape", f"the dialogue is {kind(messages)}, not a list of turns")
    turns = []
    for number, message in enumerate(messages, start=1):
        known = ROLES.get(str(message.get(role)).lower()) if isinstance(message, dict) else None
        said = message.get(text) if isinstance(message, dict) else None
        if known is None or not isinstance(said, str):
            return Broken("wrong_shape", f'turn {number} has no text under "{text}" or no known speaker under "{role}"')
        whole = whole_text(said, f"turn {number}")
        if isinstance(whole, Broken):
            return whole
        turns.append(Turn(known, whole))
    return turns


def marked_turns(dialogue: str) -> list[Turn]:
    """The turns of a text in which `Human:` and `Assistant:` stand before them, each after an empty line."""
    turns = []
    for piece in f"\n\n{dialogue.strip()}".split("\n\nHuman:")[1:]:
        human, *replies = piece.split("\n\nAssistant:")
        turns.append(Turn("user", human.strip()))
        turns.extend(Turn("assistant", reply.strip()) for reply in replies)
    return turns


def until_last_user(turns: list[Turn]) -> RawPrompt | Broken:
    """The last turn of the user as a prompt, with the turns before it."""
    last = max((n for n, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None:
        return Broken("no_prompt", "no turn of the dialogue is the user's")
    found = prompt_of(turns[last].text)
    return found if isinstance(found, Broken) else RawPrompt(found.text, tuple(turns[:last]))


def kind(value: Any) -> str:
    """What a parsed value is, in words."""
    kinds = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
