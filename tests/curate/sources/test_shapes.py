import pytest

from curate.sources.dialogues import RawPrompt
from curate.sources.readers import Broken
from curate.sources.shapes import shape_of
from schemas.records import Turn

HH = "\n\nHuman: hi there\n\nAssistant: hello\n\nHuman: how do I tie a knot?\n\nAssistant: like this"


def prompts(shape: str, value: object, field: str | None = None) -> list[object]:
    return list(shape_of(shape, field)(value))


def test_field_takes_one_column():
    assert prompts("field", {"q": " Why? "}, "q") == [RawPrompt("Why?")]


def test_texts_takes_every_leaf_in_order():
    assert prompts("texts", {"a": {"b": ["one", "two"]}, "c": ["three"]}) == [
        RawPrompt("one"),
        RawPrompt("two"),
        RawPrompt("three"),
    ]


@pytest.mark.parametrize(("extra", "text"), [("", "Sum up."), (" A text. ", "Sum up.\n\nA text."), (None, "Sum up.")])
def test_alpaca_joins_instruction_and_input(extra, text):
    assert prompts("alpaca", {"instruction": "Sum up.", "input": extra, "output": "x"}) == [RawPrompt(text)]


def test_hh_rlhf_ends_with_the_last_human_turn():
    turns = (Turn("user", "hi there"), Turn("assistant", "hello"))
    assert prompts("hh-rlhf", {"chosen": HH, "rejected": "…"}) == [RawPrompt("how do I tie a knot?", turns)]


def test_sharegpt_and_messages_know_their_speakers():
    said = [("human", "hi"), ("gpt", "hello"), ("human", "why?")]
    sharegpt = {"conversations": [{"from": who, "value": text} for who, text in said]}
    messages = {"messages": [{"role": ROLES[who], "content": text} for who, text in said]}
    expected = [RawPrompt("why?", (Turn("user", "hi"), Turn("assistant", "hello")))]
    assert prompts("sharegpt", sharegpt) == expected
    assert prompts("messages", messages) == expected


ROLES = {"human": "user", "gpt": "assistant"}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"messages": "hi"}, "wrong_shape"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "no_prompt"),
        ({"messages": [{"role": "alien", "content": "hi"}]}, "wrong_shape"),
        ({"messages": [{"role": "user", "content": None}]}, "wrong_shape"),
        ({"messages": []}, "no_prompt"),
        ({}, "missing_field"),
        (None, "wrong_shape"),
    ],
)
def test_a_dialogue_that_is_none_is_broken(value, kind):
    (found,) = prompts("messages", value)
    assert isinstance(found, Broken)
    assert found.kind == kind


def test_hh_rlhf_without_a_human_is_broken():
    (found,) = prompts("hh-rlhf", {"chosen": "just text"})
    assert isinstance(found, Broken)
