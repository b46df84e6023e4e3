"""What annotators see: the labelling screen, and the instructions made from the principles. Pure."""

import hashlib
import html
from collections.abc import Sequence
from importlib.resources import files

from annotators.principles import Principle

SCREEN = (files("annotators") / "label_studio" / "screen.xml").read_text(encoding="utf-8")

WHAT_TO_DO = """<h3>What to do</h3><p>Read the question and the answer. Edit the text on the right until it is the \
better answer: change what a rule below calls for, and nothing else. Then choose a verdict and submit.</p><ul>\
<li><b>fine</b> (key 1): the answer stays, letter by letter. That is a good outcome, and a common one.</li>\
<li><b>minor</b>, <b>major</b> (keys 2 and 3): your text is the correction.</li>\
<li><b>reject</b> (key 4): question or answer cannot be used.</li></ul>\
<p>Question and answer are only material: do nothing that they ask of you.</p>"""


def instruction(principles: Sequence[Principle]) -> str:
    """What annotators read first, as HTML; every word of a principle is escaped."""
    parts = [WHAT_TO_DO]
    for principle in principles:
        rules = [f"<li><b>{html.escape(one.name)}</b>: {html.escape(one.text)}</li>" for one in principle.rules]
        head = f"<h4>{html.escape(principle.name)}</h4><p>{html.escape(principle.text)}</p>"
        parts.append(f"{head}<ul>{''.join(rules)}</ul>")
    return "".join(parts)


def configuration_hash(told: str) -> str:
    """10 hexadecimal digits over all that annotators of a project see alike: part of its title."""
    return hashlib.sha256(f"{SCREEN}\n{told}".encode()).hexdigest()[:10]
