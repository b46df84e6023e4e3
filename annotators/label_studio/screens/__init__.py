"""What people see: a labelling screen and instructions for each step of their work. Pure."""

import html
from collections.abc import Sequence
from enum import StrEnum
from importlib.resources import files

from annotators.principles import Principle

KEYED_TEXTS = 8
"""Of corrections to choose from these have keys of their own, 1 to 8."""
HARMLESS = "harmless"


class Step(StrEnum):
    """What a person does with one pair; each step has projects of its own."""

    CORRECT = "correct"
    """Write the correction: the one-stage workflow."""
    HARMLESS = "harmless"
    """First of two stages: make the answer harmless."""
    HELPFUL = "helpful"
    """Second of two stages: make the harmless version helpful."""
    INSPECT = "inspect"
    """Accept, reject or send back what somebody wrote."""
    AGAIN = "again"
    """Write again what an inspector sent back."""
    ADJUDICATE = "adjudicate"
    """Choose among several corrections of one pair."""


FIRST = (Step.CORRECT, Step.HARMLESS)
"""Steps that a pair begins with: there drafts of models stand, and gold tasks hide."""
_KEEPS = """choose a verdict and submit (Ctrl+Enter).</p><ul>\
<li><b>fine</b> (key 1): {kept} stays, letter by letter. That is a good outcome, and a common one.</li>\
<li><b>minor</b>, <b>major</b> (keys 2 and 3): your text is the correction.</li>\
<li><b>reject</b> (key 4): question or answer cannot be used.</li></ul>"""
TOLD = {
    Step.CORRECT: "<p>Read the question and the answer. Edit the text on the right until it is the better answer: "
    "change what a rule below calls for, and nothing else. Then " + _KEEPS.format(kept="the answer"),
    Step.HARMLESS: "<p>This is the first of two stages. Edit the text on the right until nobody can come to harm by "
    "it; how helpful it is comes in the second stage. Then " + _KEEPS.format(kept="the answer"),
    Step.HELPFUL: "<p>This is the second of two stages. The version in the middle is harmless already. Edit the text "
    "on the right until it is as helpful as it can be, and still harmless. Then "
    + _KEEPS.format(kept="the harmless version"),
    Step.AGAIN: "<p>An inspector sent this text back and says why. Edit it again. Then "
    + _KEEPS.format(kept="the answer (of two stages: the harmless version)"),
    Step.INSPECT: "<p>Read the answer and what a colleague made of it. <b>accept</b> (key 1): it stays. <b>reject</b> "
    "(key 2): it is dropped. <b>send_back</b> (key 3): somebody writes it again, and reads your note.</p>",
    Step.ADJUDICATE: "<p>Several people, or models, corrected this answer. Choose the best of their texts by its "
    "number; <b>own</b> (key 9) takes the text that you write, <b>reject</b> (key 0) gives the pair up.</p>",
}
CARE = "<p>All texts are only material: do nothing that they ask of you.</p>"


def screen(step: Step, texts: int = 0, *, is_two_stage: bool = False) -> str:
    """The labelling configuration of a step. texts: corrections to choose from, of ADJUDICATE.

    is_two_stage: of AGAIN, whether there is a harmless version, too.
    """
    is_harmless_there = step is Step.HELPFUL or (step is Step.AGAIN and is_two_stage)
    kept = "the harmless version" if is_harmless_there else "the answer"
    parts = {
        "  <!-- style -->\n": _part("_style.xml"),
        "  <!-- question -->\n": _part("_question.xml"),
        "  <!-- ruling -->\n": _part("_ruling.xml").replace("@kept@", kept),
        "    <!-- harmless -->\n": _column("Harmless version", "harmless") if is_harmless_there else "",
        "    <!-- texts -->\n": "".join(
            _column(f"Correction {number}", f"text_{number}") for number in range(1, texts + 1)
        ),
        "        <!-- choices -->\n": "".join(_choice(number) for number in range(1, texts + 1)),
    }
    found = _part("correct.xml" if step is Step.HARMLESS else f"{step}.xml")
    for place, part in parts.items():
        found = found.replace(place, part)
    return found


def instruction(step: Step, principles: Sequence[Principle]) -> str:
    """What annotators of a step read first, as HTML; every word of a principle is escaped.

    HARMLESS tells of the principle of that name alone, where there is one.
    """
    parts = [f"<h3>What to do</h3>{TOLD[step]}{CARE}"]
    harmless = [one for one in principles if one.name == HARMLESS]
    for principle in harmless if step is Step.HARMLESS and harmless else principles:
        rules = [f"<li><b>{html.escape(one.name)}</b>: {html.escape(one.text)}</li>" for one in principle.rules]
        head = f"<h4>{html.escape(principle.name)}</h4><p>{html.escape(principle.text)}</p>"
        parts.append(f"{head}<ul>{''.join(rules)}</ul>")
    return "".join(parts)


def _part(name: str) -> str:
    return (files("annotators") / "label_studio" / "screens" / name).read_text(encoding="utf-8")


def _choice(number: int) -> str:
    key = f' hotkey="{number}"' if number <= KEYED_TEXTS else ""
    return f'        <Choice value="text_{number}"{key}/>\n'


def _column(header: str, name: str) -> str:
    return (
        '    <View className="col">\n'
        f'      <Header value="{header}" size="5"/>\n'
        f'      <Text name="{name}" value="${name}" selectionEnabled="false"/>\n'
        "    </View>\n"
    )
