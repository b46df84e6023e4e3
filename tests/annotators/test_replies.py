"""Replies are read strictly: what is not exactly as asked for is no correction."""

from pathlib import Path

import pytest

from annotators.replies import read_edit, read_verdicts, read_violations
from annotators.template import CORRECTING, read_template
from schemas.errors import RequestError

RULES = {"harmless.violence", "honest.false_statement"}


def edit(template: str, reply: str) -> str | None:
    return read_edit(read_template(template, Path(), CORRECTING), reply)


@pytest.mark.parametrize(
    ("template", "reply", "text"),
    [
        ("editor", "<correction>\nBetter.\n</correction>", "Better."),
        ("editor", "Sure! <correction>Better {0} {answer}.</correction> Done.", "Better {0} {answer}."),
        ("editor", " <unchanged/>\n", None),
        ("bracketed", "##Corrected answer:\n[[Better.]]", "Better."),
        ("bracketed", "Here it is.\n##Corrected answer: [[ Better. ]]\n", "Better."),
        ("bracketed", "##Corrected answer:\n[[m = [[1, 2], [3, 4]] holds.]]", "m = [[1, 2], [3, 4]] holds."),
        ("bracketed", "##Corrected answer:\n[[It is a[b[0]] here.]]", "It is a[b[0]] here."),
        ("structured", '{"unchanged": false, "correction": "Better."}', "Better."),
        ("structured", '{"correction": "", "unchanged": true}', None),
    ],
)
def test_an_edit_is_what_stands_where_it_should(template, reply, text):
    assert edit(template, reply) == text


@pytest.mark.parametrize(
    ("template", "reply", "kind"),
    [
        ("editor", "", "unmarked_correction"),
        ("editor", "Better.", "unmarked_correction"),
        ("editor", "<correction>cut off", "unmarked_correction"),
        ("editor", "</correction><correction>", "unmarked_correction"),
        ("editor", "<correction> \n</correction>", "empty_correction"),
        ("editor", "<correction>one</correction> or <correction>two</correction>", "ambiguous_correction"),
        ("editor", "<correction>Write </correction> to end.</correction>", "ambiguous_correction"),
        ("editor", "<unchanged/> <correction>Better.</correction>", "contradictory_correction"),
        ("editor", "<unchanged/> as it is fine", "unmarked_correction"),
        ("editor", "<correction><unchanged/></correction>", "contradictory_correction"),
        ("bracketed", "##Corrected answer:\n[[a [[ b]]", "ambiguous_correction"),
        ("bracketed", "[[Better.]]", "unmarked_correction"),
        ("bracketed", "##Corrected answer:\nBetter.", "unmarked_correction"),
        ("bracketed", "##Corrected answer:\n[[Better.]] I removed the poison.", "unmarked_correction"),
        ("bracketed", "##Corrected answer:\n[[Better.", "unmarked_correction"),
        ("bracketed", "##Corrected answer:\n[[]]", "empty_correction"),
        ("bracketed", "##Corrected answer:\n[]]", "unmarked_correction"),
        ("bracketed", "##Corrected answer: [[a]]\n##Corrected answer: [[b]]", "ambiguous_correction"),
        ("bracketed", "##Corrected answer:\n[[a]] or [[b]]", "ambiguous_correction"),
        ("structured", "<correction>Better.</correction>", "unmarked_correction"),
        ("structured", '```json\n{"unchanged": true, "correction": ""}\n```', "unmarked_correction"),
        ("structured", '{"unchanged": "yes", "correction": ""}', "unmarked_correction"),
        ("structured", '{"unchanged": true, "correction": "", "note": "x"}', "unmarked_correction"),
        ("structured", '{"correction": "Better."}', "unmarked_correction"),
        ("structured", '{"unchanged": true, "correction": "Better."}', "contradictory_correction"),
        ("structured", '{"unchanged": false, "correction": " "}', "empty_correction"),
        ("structured", '{"unchanged": false, "correction": "\ud800"}', "unmarked_correction"),
    ],
)
def test_what_is_not_as_asked_for_is_not_guessed(template, reply, kind):
    with pytest.raises(RequestError) as caught:
        edit(template, reply)
    assert caught.value.kind == kind


def test_a_critic_names_rules_with_reasons():
    reply = (
        "<violations>\nharmless.violence: tells how to hurt: with a knife\n\nhonest.false_statement\n</violations>\n"
    )
    assert read_violations(reply, RULES) == {
        "harmless.violence": "tells how to hurt: with a knife",
        "honest.false_statement": "",
    }
    assert read_violations("<violations></violations>", RULES) == {}


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "none",
        "<violations>none</violations>",
        "<violations>harmless.kindness: x</violations>",
        "I think: <violations></violations>",
        "<violations>harmless.violence: x",
    ],
)
def test_a_critic_who_names_no_rule_of_ours_is_not_understood(reply):
    with pytest.raises(RequestError):
        read_violations(reply, RULES)


def test_a_judge_rules_on_every_axis():
    reply = "<verdict>\nhelpful: Second\nharmless: same\nhonest: SAME\noverall: first\n</verdict>"
    assert read_verdicts(reply) == {"helpful": -1, "harmless": 0, "honest": 0, "overall": 1}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "helpful: first",
        "helpful: first\nharmless: same\nhonest: same\noverall: both",
        "helpful: first\nhelpful: second\nharmless: same\nhonest: same\noverall: same",
        "helpful: first\nharmless: same\nhonest: same\noverall: first\nI like the first",
    ],
)
def test_a_judge_who_leaves_the_form_is_not_understood(body):
    with pytest.raises(RequestError):
        read_verdicts(f"<verdict>\n{body}\n</verdict>")
