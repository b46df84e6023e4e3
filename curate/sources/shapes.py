"""How a raw row holds its prompt: from one parsed value to texts with their earlier turns. Pure."""

import difflib
from collections.abc import Callable, Iterator
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


Found = RawPrompt | Broken
Shape = Callable[[Any], Iterator[Found]]


def shape_of(name: str, field: str | None) -> Shape:
    """The function that finds prompts in a parsed value; it yields Broken for each that cannot be used."""
    if name == "field":
        return lambda value: _field(value, str(field))
    return {"texts": _texts, "alpaca": _alpaca, "sharegpt": _sharegpt, "hh-rlhf": _hh_rlhf, "messages": _messages}[name]


def _field(value: Any, field: str) -> Iterator[Found]:
    yield _prompt(_column(value, field))


def _texts(value: Any) -> Iterator[Found]:
    """Each string at the leaves of lists and of the values of objects, in the order of the file."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    else:
        yield _prompt(value)


def _alpaca(value: Any) -> Iterator[Found]:
    instruction = _column(value, "instruction")
    extra = value.get("input") if isinstance(value, dict) else None
    if isinstance(instruction, str) and isinstance(extra, str) and extra.strip():
        instruction = f"{instruction.strip()}\n\n{extra.strip()}"
    yield _prompt(instruction)


def _sharegpt(value: Any) -> Iterator[Found]:
    yield _dialogue(_column(value, "conversations"), role="from", text="value")


def _messages(value: Any) -> Iterator[Found]:
    yield _dialogue(_column(value, "messages"), role="role", text="content")


def _hh_rlhf(value: Any) -> Iterator[Found]:
    """The dialogue up to the last human turn of `chosen`; what the assistant then said is not a prompt."""
    dialogue = _column(value, "chosen")
    if not isinstance(dialogue, str):
        yield _prompt(dialogue)
        return
    turns = []
    for piece in f"\n\n{dialogue.strip()}".split("\n\nHuman:")[1:]:
        human, *replies = piece.split("\n\nAssistant:")
        turns.append(Turn("user", human.strip()))
        turns.extend(Turn("assistant", reply.strip()) for reply in replies)
    yield _until_last_user(turns)


def _dialogue(messages: Any, role: str, text: str) -> Found:
    if isinstance(messages, Broken):
        return messages
    if not isinstance(messages, list):
        return Broken("wrong_shape", f"the dialogue is {_kind(messages)}, not a list of turns")
    turns = []
    for number, message in enumerate(messages, start=1):
        known = ROLES.get(str(message.get(role)).lower()) if isinstance(message, dict) else None
        said = message.get(text) if isinstance(message, dict) else None
        if known is None or not isinstance(said, str):
            return Broken("wrong_shape", f'turn {number} has no text under "{text}" or no known speaker under "{role}"')
        turns.append(Turn(known, said.strip()))
    return _until_last_user(turns)


def _until_last_user(turns: list[Turn]) -> Found:
    last = max((n for n, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None:
        return Broken("no_prompt", "no turn of the dialogue is the user's")
    found = _prompt(turns[last].text)
    return found if isinstance(found, Broken) else RawPrompt(found.text, tuple(turns[:last]))


def _column(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        return Broken("wrong_shape", f"the row is {_kind(value)}, not an object")
    if name not in value:
        near = difflib.get_close_matches(name, list(value), n=1, cutoff=0.5)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return Broken("missing_field", f'no field "{name}"; the row has: {", ".join(list(value)[:20])}{hint}')
    return value[name]


def _prompt(value: Any) -> Found:
    if isinstance(value, Broken):
        return value
    if value is None:
        return Broken("null_field", "the prompt is null")
    if not isinstance(value, str):
        return Broken("wrong_type", f"the prompt is {_kind(value)}, not text")
    text = value.strip()
    if not text:
        return Broken("empty_prompt", "the prompt has no characters")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return Broken("invalid_unicode", "the prompt holds half of a surrogate pair")
    return RawPrompt(text)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
