"""What the ledger tells of people's work: projects, who did what and how well, and what cannot be used."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from annotators.adjudication import COMPARED
from annotators.label_studio.results import ACCEPT, MAJOR, MINOR, REJECT, SEND_BACK, VERDICTS
from annotators.label_studio.screens import Step
from curate.ledger.labels import LabelBook

CHANGED = "changed"
WRITING = (Step.CORRECT, Step.HARMLESS, Step.HELPFUL, Step.AGAIN)
"""Steps at whose end there is a correction."""
PROJECTS = """
SELECT p.title, p.pipeline, p.annotator, p.step, p.url, p.remote_id, p.cursor,
    (SELECT COUNT(*) FROM label_tasks AS t WHERE t.title = p.title) AS tasks,
    (SELECT COUNT(*) FROM label_tasks AS t WHERE t.title = p.title AND t.remote_id IS NOT NULL AND t.deleted_at IS NULL)
        AS pushed,
    COUNT(DISTINCT CASE WHEN c.state = 'done' THEN c.uid END) AS done,
    COALESCE(SUM(c.state = 'skipped'), 0) AS skipped,
    COALESCE(SUM(c.state = 'quarantined'), 0) AS quarantined,
    COALESCE(SUM(c.state = 'deleted'), 0) AS deleted,
    COUNT(DISTINCT c.person) AS people
FROM label_projects AS p LEFT JOIN label_current AS c ON c.title = p.title GROUP BY p.title ORDER BY p.title
"""
QUARANTINE = """
SELECT title, annotation_id, version, remote_task_id, uid, person, why, updated_at FROM label_current
WHERE state = 'quarantined' ORDER BY title, annotation_id
"""
WORK = """
SELECT c.title, c.annotation_id, c.uid, c.person, c.editor, c.verdict, c.text, c.lead_time_s, t.step, t.answer,
    t.subject, g.verdict AS expected, g.correction AS gold
FROM label_current AS c JOIN label_tasks AS t ON t.uid = c.uid LEFT JOIN label_gold AS g ON g.uid = c.uid
WHERE c.state = 'done' ORDER BY c.updated_at, c.annotation_id
"""


@dataclass
class _Person:
    """What is summed up of one person; shares and similarities are 0..1."""

    rulings: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    gold: list[float] = field(default_factory=list)
    same: list[float] = field(default_factory=list)
    likeness: list[float] = field(default_factory=list)
    inspected: list[str] = field(default_factory=list)
    edited_by_others: int = 0
    other_steps: int = 0


def projects(book: LabelBook) -> list[dict[str, Any]]:
    """Of each project: tasks, those on the server, done ones, annotations skipped, quarantined and deleted, people."""
    return book.rows(PROJECTS)


def quarantine(book: LabelBook) -> list[dict[str, Any]]:
    """Annotations that could not be used, each with the reason."""
    return book.rows(QUARANTINE)


def people(book: LabelBook) -> list[dict[str, Any]]:
    """One row a person: rulings by verdict, pace, gold score, agreement with others, what inspectors said.

    per_hour: rulings in an hour of the time that tasks were open. gold_score: mean over hidden tasks whose result is
    known, 0 where the verdict is of another kind, else how like the text is to the known one. same_verdict,
    likeness: of tasks that others did, too, the share where both or neither changed the text, and the mean edit
    similarity (1 - Levenshtein over the longer text).
    """
    found: dict[str, _Person] = {}
    rows = [row for row in book.rows(WORK) if row["person"] is not None]
    authors = {f"{row['title']}:{row['annotation_id']}": row["person"] for row in rows}
    for row in rows:
        one = found.setdefault(row["person"], _Person())
        if row["lead_time_s"] is not None:
            one.seconds.append(row["lead_time_s"])
        one.edited_by_others += row["editor"] not in (None, row["person"])
        if row["step"] not in WRITING:
            one.other_steps += 1
        else:
            one.rulings.append(row["verdict"])
        if row["expected"] is not None:
            one.gold.append(gold_score(row["expected"], row["gold"], row["verdict"], row["text"]))
        if row["step"] == Step.INSPECT:
            for author in (authors.get(subject) for subject in json.loads(row["subject"])):
                if author is not None:
                    found.setdefault(author, _Person()).inspected.append(row["verdict"])
    for person, same, likeness in _agreements(rows):
        found[person].same.append(same)
        found[person].likeness.append(likeness)
    return [_row(name, found[name]) for name in sorted(found)]


def gold_score(expected: str, gold: str | None, verdict: str, text: str | None) -> float:
    """0..1: 0 where the verdict is of another kind (fine, changed, reject) than expected, else the similarity."""
    if _kind(verdict) != expected:
        return 0.0
    return 1.0 if expected != CHANGED else _likeness(gold or "", text or "")


def _kind(verdict: str) -> str:
    return CHANGED if verdict in (MINOR, MAJOR) else verdict


def _agreements(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, float, float]]:
    """Of each task that several people did, each of them against each other: same kind of verdict, and likeness."""
    by_task: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["step"] in WRITING:
            by_task.setdefault(row["uid"], {})[row["person"]] = row
    for done in by_task.values():
        for one in done.values():
            for other in done.values():
                if one is not other:
                    yield (
                        one["person"],
                        float(_kind(one["verdict"]) == _kind(other["verdict"])),
                        _likeness(one["text"] or "", other["text"] or ""),
                    )


def _likeness(one: str, other: str) -> float:
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(one[:COMPARED], other[:COMPARED])


def _row(name: str, one: _Person) -> dict[str, Any]:
    return {
        "person": name,
        "done": len(one.rulings),
        **{verdict: one.rulings.count(verdict) for verdict in VERDICTS},
        "other_steps": one.other_steps,
        "median_s": _told(statistics.median, one.seconds),
        "per_hour": None if not sum(one.seconds) else round(3600 * len(one.seconds) / sum(one.seconds), 1),
        "gold": len(one.gold),
        "gold_score": _told(statistics.fmean, one.gold),
        "shared": len(one.same),
        "same_verdict": _told(statistics.fmean, one.same),
        "likeness": _told(statistics.fmean, one.likeness),
        "accepted": one.inspected.count(ACCEPT),
        "rejected": one.inspected.count(REJECT),
        "sent_back": one.inspected.count(SEND_BACK),
        "edited_by_others": one.edited_by_others,
    }


def _told(measure: Callable[[list[float]], float], values: list[float]) -> float | None:
    return round(measure(values), 3) if values else None
