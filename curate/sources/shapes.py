"""How a raw row holds its prompt: from one parsed value to texts with their earlier turns. Pure."""

from collections.abc import Callable, Iterator
from typing import Any

from curate.sources.dialogues import RawPrompt, column, marked_turns, prompt_of, turns_of, until_last_user
from curate.sources.preferences import compared
from curate.sources.readers import Broken

Found = RawPrompt | Broken
Shape = Callable[[Any], Iterator[Found]]


def shape_of(name: str, field: str | None) -> Shape:
    """The function that finds prompts in a parsed value; it yields Broken for each that cannot be used."""
    if name == "field":
        return lambda value: _field(value, str(field))
    known = {"texts": _texts, "alpaca": _alpaca, "sharegpt": _sharegpt, "hh-rlhf": _hh_rlhf, "messages": _messages}
    return known[name] if name in known else lambda value: _asked(value, name)


def _field(value: Any, field: str) -> Iterator[Found]:
    yield prompt_of(column(value, field))


def _texts(value: Any) -> Iterator[Found]:
    """Each string at the leaves of lists and of the values of objects, in the order of the file."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    else:
        yield prompt_of(value)


def _alpaca(value: Any) -> Iterator[Found]:
    instruction = column(value, "instruction")
    extra = value.get("input") if isinstance(value, dict) else None
    if isinstance(instruction, str) and isinstance(extra, str) and extra.strip():
        instruction = f"{instruction.strip()}\n\n{extra.strip()}"
    yield prompt_of(instruction)


def _sharegpt(value: Any) -> Iterator[Found]:
    yield _dialogue(column(value, "conversations"), role="from", text="value")


def _messages(value: Any) -> Iterator[Found]:
    yield _dialogue(column(value, "messages"), role="role", text="content")


def _hh_rlhf(value: Any) -> Iterator[Found]:
    """The dialogue up to the last human turn of `chosen`; what the assistant then said is not a prompt."""
    dialogue = column(value, "chosen")
    if not isinstance(dialogue, str):
        yield prompt_of(dialogue)
        return
    yield until_last_user(marked_turns(dialogue))


def _dialogue(messages: Any, role: str, text: str) -> Found:
    turns = turns_of(messages, role, text)
    return turns if isinstance(turns, Broken) else until_last_user(turns)


def _asked(value: Any, shape: str) -> Iterator[Found]:
    """The prompt of a row of a shape that holds preferences, whatever its answers are."""
    found = compared(value, shape)
    yield found if isinstance(found, Broken) else found.prompt
