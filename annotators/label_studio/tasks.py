"""Tasks as Label Studio takes them: what a person is shown, and the draft as a prediction, which autosaves. Pure."""

import html
from dataclasses import dataclass
from typing import Any

from annotators.model import dialogue
from annotators.word_diff import word_diff
from schemas.records import CorrectionTask

DRAFT = "draft"
NUL, SHOWN_NUL = "\0", "\N{SYMBOL FOR NULL}"
OPENING = {"same": "", "removed": "<del>", "added": "<ins>"}
CLOSING = {"same": "", "removed": "</del>", "added": "</ins>"}


@dataclass(frozen=True)
class PersonTask:
    """One pair for one person to correct. uid: its name in our ledger and in the task's `meta`, never the server's id.

    draft: where the correction begins, a model's or the answer itself.
    """

    uid: str
    pair_id: str
    question: str
    answer: str
    draft: str


def shown_question(task: CorrectionTask) -> str:
    """The question after its earlier turns."""
    return dialogue(task.question, task.turns)


def storable(text: str) -> str:
    """A text as the server is sent it. PostgreSQL refuses a whole import for one NUL, and nobody could see it."""
    return text.replace(NUL, SHOWN_NUL)


def restored(text: str, answer: str) -> str:
    """What a person made of a shown text, with the NULs of the answer again, as far as these can be told."""
    return text.replace(SHOWN_NUL, NUL) if NUL in answer and SHOWN_NUL not in answer else text


def as_json(task: PersonTask) -> dict[str, Any]:
    """The task for the import endpoint. Texts are data of escaping tags; `diff` is HTML that we escaped ourselves.

    The draft is a prediction: a text area filled by `value` never autosaves, and a reload would lose the edit.
    """
    question, answer, draft = storable(task.question), storable(task.answer), storable(task.draft)
    value = {"text": [draft]}
    area = {"from_name": "correction", "to_name": "answer", "type": "textarea", "value": value}
    return {
        "data": {"question": question, "answer": answer, "diff": diff_html(answer, draft)},
        "meta": {"uid": task.uid},
        "predictions": [{"model_version": DRAFT, "result": [area]}],
    }


def diff_html(answer: str, draft: str) -> str:
    """What turns the answer into the draft, word by word; every character of both is escaped."""
    if answer == draft:
        return "<p>The draft is the answer itself.</p>"
    return "".join(
        OPENING[what] + html.escape(text).replace("\n", "<br>") + CLOSING[what]
        for what, text in word_diff(answer, draft)
    )
