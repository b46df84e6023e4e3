"""Tasks as Label Studio takes them: what a person is shown, and the draft as a prediction, which autosaves. Pure."""

import html
from dataclasses import dataclass
from typing import Any

from annotators.label_studio.screens import Step
from annotators.model import dialogue
from annotators.word_diff import word_diff
from schemas.records import CorrectionTask

DRAFT = "draft"
AREAS = {Step.INSPECT: "note", Step.ADJUDICATE: "own"}
"""Where somebody may write who writes no correction; without a prediction, an area would be a form to be sent first."""
CRLF = "\r\n"
NUL, SHOWN_NUL = "\0", "\N{SYMBOL FOR NULL}"
OPENING = {"same": "", "removed": "<del>", "added": "<ins>"}
CLOSING = {"same": "", "removed": "</del>", "added": "</ins>"}


@dataclass(frozen=True)
class PersonTask:
    """One step of one pair for one person. uid: its name in our ledger and in the task's `meta`, never the server's id.

    draft: where the correction begins (a model's text, or the one that is to be improved); of INSPECT the correction.
    harmless: the first stage's text, of HELPFUL, and of AGAIN after two stages. note: the inspector's, of AGAIN. texts:
    those to choose from, of ADJUDICATE. subject: ids of what the task was made from. people: how many shall do it.
    """

    uid: str
    pair_id: str
    question: str
    answer: str
    draft: str
    step: Step = Step.CORRECT
    harmless: str = ""
    note: str = ""
    texts: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    people: int = 1

    @property
    def kept(self) -> str:
        """The text that stays where the verdict is "fine"."""
        return self.harmless if self.is_two_stage else self.answer

    @property
    def is_two_stage(self) -> bool:
        """Whether a harmless version was written before."""
        return self.step is Step.HELPFUL or (self.step is Step.AGAIN and bool(self.harmless))


def shown_question(task: CorrectionTask) -> str:
    """The question after its earlier turns."""
    return dialogue(task.question, task.turns)


def shown(task: PersonTask) -> dict[str, str]:
    """The texts that a person reads, as the server is sent them, by the name that the screen gives them."""
    return {name: storable(text) for name, text in _texts(task).items()}


def _texts(task: PersonTask) -> dict[str, str]:
    found = {"question": task.question, "answer": task.answer}
    match task.step:
        case Step.HELPFUL:
            return found | {"harmless": task.harmless}
        case Step.AGAIN:
            return found | {"note": task.note} | ({"harmless": task.harmless} if task.harmless else {})
        case Step.INSPECT:
            return found | {"correction": task.draft}
        case Step.ADJUDICATE:
            return found | {f"text_{number}": text for number, text in enumerate(task.texts, start=1)}
        case _:
            return found


def storable(text: str) -> str:
    """A text as the server is sent it. PostgreSQL refuses a whole import for one NUL, and nobody could see it."""
    return text.replace(NUL, SHOWN_NUL)


def restored(text: str, answer: str) -> str:
    """What a person made of a shown text, with the answer's NULs and CRLFs again, as far as these can be told."""
    if NUL in answer and SHOWN_NUL not in answer:
        text = text.replace(SHOWN_NUL, NUL)
    if CRLF in answer and not {"\r", "\n"} & set(answer.replace(CRLF, "")):
        text = text.replace(CRLF, "\n").replace("\n", CRLF)
    return text


def as_json(task: PersonTask) -> dict[str, Any]:
    """The task for the import endpoint. Texts are data of escaping tags; `diff` is HTML that we escaped ourselves.

    The draft is a prediction: a text area filled by `value` never autosaves, and a reload would lose the edit.
    """
    compared = task.texts[:2] if task.step is Step.ADJUDICATE else (task.answer, task.draft)
    begin = "" if task.step in AREAS else storable(task.draft)
    area = {"from_name": AREAS.get(task.step, "correction"), "to_name": "answer", "type": "textarea"}
    return {
        "data": {**shown(task), "diff": diff_html(*map(storable, compared))},
        "meta": {"uid": task.uid},
        "predictions": [{"model_version": DRAFT, "result": [area | {"value": {"text": [begin]}}]}],
    }


def diff_html(answer: str, draft: str) -> str:
    """What turns the answer into the draft, word by word; every character of both is escaped."""
    if answer == draft:
        return "<p>Nothing: it is the answer itself.</p>"
    return "".join(
        OPENING[what] + html.escape(text).replace("\n", "<br>") + CLOSING[what]
        for what, text in word_diff(answer, draft)
    )
