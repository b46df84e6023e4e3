"""The order of people's work on one pair: whose rulings count, and what somebody must do next. Pure.

One stage: correct. Two stages: harmless, then helpful. Then, of drawn pairs, inspect; what is sent back is done again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from annotators.label_studio.results import REJECT, SEND_BACK
from annotators.label_studio.screens import Step
from annotators.label_studio.tasks import PersonTask
from curate.identity import content_id
from curate.ledger.labels import Ruling, Rulings

NO_NOTE = "(the inspector left no note)"


@dataclass(frozen=True)
class Asked:
    """What some people are asked about one pair. draft: where they begin. people: how many shall correct it."""

    pipeline: str
    annotator: str
    pair_id: str
    question: str
    answer: str
    draft: str
    people: int = 1
    is_two_stage: bool = False
    is_inspected: bool = False


@dataclass(frozen=True)
class Standing:
    """How far a pair is. rulings: final ones, each of one person. open: what somebody must do next.

    missing: corrections that are still to come: those not ruled yet, and those at an inspector's or sent back.
    """

    rulings: list[Ruling] = field(default_factory=list)
    open: list[PersonTask] = field(default_factory=list)
    missing: int = 0


def standing(asked: Asked, said: Rulings) -> Standing:
    """Follow the pair's tasks through what people said. A ruling whose text was changed since leads to a new task."""
    if not asked.is_two_stage:
        return _corrected(asked, said, replace(_task(asked, Step.CORRECT, asked.answer), people=asked.people))
    first = _task(asked, Step.HARMLESS)
    ruled = _newest(said, first, 1)
    if not ruled:
        return Standing([], [first], asked.people)
    harmless = ruled[0].text
    if harmless is None:
        return Standing(ruled)
    second = replace(_task(asked, Step.HELPFUL, harmless), harmless=harmless, draft=harmless, people=asked.people)
    return _corrected(asked, said, second)


def _corrected(asked: Asked, said: Rulings, task: PersonTask) -> Standing:
    """What came of a task that ends in corrections."""
    ruled = _newest(said, task, task.people)
    parts = [_inspected(asked, said, one, task.harmless) for one in ruled]
    short = task.people - len(ruled)
    return Standing(
        [one for part in parts for one in part.rulings],
        [*([task] if short else []), *(one for part in parts for one in part.open)],
        short + sum(part.missing for part in parts),
    )


def _inspected(asked: Asked, said: Rulings, ruling: Ruling, harmless: str) -> Standing:
    """A correction that an inspector must see first; one that was sent back is done, and inspected, again.

    harmless: the first of two stages' text, which the second one keeps where it is fine.
    """
    if not asked.is_inspected or ruling.text is None:
        return Standing([ruling])
    written = f"{ruling.title}:{ruling.annotation_id}"
    inspection = replace(_task(asked, Step.INSPECT, written, ruling.text), draft=ruling.text, subject=(written,))
    found = _newest(said, inspection, 1)
    if not found:
        return Standing([], [inspection], 1)
    (said_so,) = found
    if said_so.verdict == REJECT:
        return Standing([replace(ruling, verdict=REJECT, text=None, person=said_so.person, reasons=_notes(said_so))])
    if said_so.verdict != SEND_BACK:
        return Standing([ruling])
    key = f"{said_so.title}:{said_so.annotation_id}"
    note = said_so.text or NO_NOTE
    again = _task(asked, Step.AGAIN, inspection.uid, key, note)
    return _corrected(
        asked, said, replace(again, harmless=harmless, draft=ruling.text, note=note, subject=(written, key))
    )


def adjudication(
    pipeline: str, pair_id: str, question: str, answer: str, texts: Sequence[tuple[str, str]]
) -> PersonTask:
    """Let a person choose among some corrections. texts: their ids and words; whose they are is not shown.

    They stand in the order of an id that tells nothing of who wrote them.
    """
    ordered = sorted(texts, key=lambda one: content_id("place", pair_id, one[0]))
    uid = content_id("label", pipeline, Step.ADJUDICATE, pair_id, question, answer, sorted(one for one, _ in texts))
    return PersonTask(
        uid,
        pair_id,
        question,
        answer,
        answer,
        Step.ADJUDICATE,
        texts=tuple(text for _, text in ordered),
        subject=tuple(one for one, _ in ordered),
    )


def _task(asked: Asked, step: Step, *made_from: str) -> PersonTask:
    """uid: of pipeline, annotator, step, pair, texts and what it was made from, so no task is ever made twice.

    Not of the draft: where people begin may change (a model answers late) once somebody is at it.
    """
    named = () if step is Step.CORRECT else (str(step),)
    texts = (asked.pair_id, asked.question, asked.answer, *made_from)
    uid = content_id("label", asked.pipeline, asked.annotator, *named, *texts)
    return PersonTask(uid, asked.pair_id, asked.question, asked.answer, asked.draft, step)


def _newest(said: Rulings, task: PersonTask, most: int) -> list[Ruling]:
    """Of different people, the newest `most` rulings."""
    return list(said.get(task.uid, ()))[-most:]


def _notes(ruling: Ruling) -> tuple[str, ...]:
    return () if ruling.text is None else (ruling.text,)
