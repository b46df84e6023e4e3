"""Pull: what people did since the last pull, each annotation validated, every version kept, nothing taken twice."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from annotators.label_studio.client import LabelStudio, uid_of
from annotators.label_studio.results import WrongAnnotationError, read_annotation
from annotators.label_studio.screens import Step
from curate.labelling.projects import data_hash
from curate.ledger.labels import DELETED, DONE, QUARANTINED, SKIPPED, Annotation, LabelBook, PlannedTask

SHORTEST_S, LONGEST_S = 0.01, 30 * 86_400.0
"""Times for a task that are believed; the server takes any number."""
OVERLAP = timedelta(seconds=120)
"""A pull looks back this much behind its cursor: clocks differ, and a transaction may become visible late."""


@dataclass(frozen=True)
class Pulled:
    """What a pull brought from one project: versions that are new, and of the project as it is now, counts by state."""

    title: str
    new: int
    deleted_tasks: int


def pull(
    server: LabelStudio, book: LabelBook, say: Callable[[str], None], *, pseudonymous: bool, whole: bool = False
) -> list[Pulled]:
    """Bring everything new of every project into the ledger. whole: look at all tasks, not only at changed ones."""
    pulled = []
    for project in book.projects(server.url):
        title, project_id, cursor = project.title, project.remote_id, project.cursor
        if not server.has_project(project_id, title):
            say(
                f"{title} is not on this server any more (removed? renamed?); what people did there stays in the ledger"
            )
            continue
        since = None if whole or cursor is None else _earlier(cursor)
        tasks = book.tasks(title)
        changed = list(server.changed_tasks(project_id, since))
        annotations = [one for task in changed for one in _annotations(task, tasks, project.origin, pseudonymous)]
        gone = _gone(book, title, changed, annotations)
        marks = server.task_marks(project_id)
        there = {mark.uid: mark.task_id for mark in marks if mark.uid in tasks}
        ids = {mark.task_id for mark in marks}
        orphans = _orphans(book, title, ids, {one.annotation_id for one in annotations})
        newest = max((str(task["updated_at"]) for task in changed if task.get("updated_at")), default=cursor)
        new = book.keep(title, [*annotations, *gone, *orphans], newest)
        deleted = book.seen(title, there)
        pulled.append(Pulled(title, new, deleted))
        say(f"{title}: {new:,} new" + (f", {deleted:,} tasks were deleted there" if deleted else ""))
    return pulled


def _annotations(
    task: dict[str, Any], known: dict[str, PlannedTask], url: str, pseudonymous: bool
) -> Iterator[Annotation]:
    uid = uid_of(task)
    planned = known.get(uid)
    for found in _once(task.get("annotations") or []):
        yield _annotation(found, task, planned, url, pseudonymous)


def _once(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Repeats by one person with the same regions count once, the first: a repeated POST made them."""
    found: dict[str, dict[str, Any]] = {}
    for one in sorted(annotations, key=lambda one: int(one["id"])):
        regions = sorted(str(region.get("id")) for region in one.get("result") or [] if isinstance(region, dict))
        same = [_user(one.get("completed_by")), one.get("was_cancelled"), regions, one.get("result")]
        found.setdefault(json.dumps(same, sort_keys=True), one)
    return list(found.values())


def _annotation(
    found: dict[str, Any], task: dict[str, Any], planned: PlannedTask | None, url: str, pseudonymous: bool
) -> Annotation:
    person = _name(found.get("completed_by"), url, pseudonymous)
    kept = {name: found.get(name) for name in ("result", "was_cancelled")} | {"data": task.get("data")}
    read = Annotation(
        annotation_id=int(found["id"]),
        uid=None if planned is None else planned.uid,
        remote_task_id=int(task["id"]),
        state=QUARANTINED,
        person=person,
        editor=_name(found.get("updated_by"), url, pseudonymous) or person,
        lead_time_s=_seconds(found.get("lead_time")),
        updated_at=str(found.get("updated_at") or ""),
        raw=json.dumps(kept, sort_keys=True).encode("ascii"),
    )
    if planned is None:
        return replace(read, why="its task has no uid of ours")
    if _data_hash(task.get("data") or {}) != planned.data_hash:
        return replace(read, why="the task's texts were changed there")
    if found.get("was_cancelled"):
        return replace(read, state=SKIPPED)
    if person is None:
        return replace(read, why="no user wrote it")
    try:
        said = read_annotation(
            Step(planned.step), found.get("result"), planned.answer, planned.draft, len(json.loads(planned.subject))
        )
    except WrongAnnotationError as error:
        return replace(read, why=str(error))
    return replace(read, state=DONE, verdict=said.verdict, text=said.text, reasons=said.reasons, ratings=said.ratings)


def _data_hash(data: Mapping[str, Any]) -> str:
    return data_hash({name: text for name, text in data.items() if name != "diff"})


def _gone(
    book: LabelBook, title: str, changed: list[dict[str, Any]], annotations: list[Annotation]
) -> Iterator[Annotation]:
    """Annotations that we know on tasks that changed, and that are not there any more."""
    looked_at = {int(task["id"]) for task in changed}
    there = {one.annotation_id for one in annotations}
    for annotation_id, (task_id, uid) in book.living(title).items():
        if task_id in looked_at and annotation_id not in there:
            yield Annotation(annotation_id, uid, task_id, DELETED, "the annotation was deleted there")


def _orphans(book: LabelBook, title: str, tasks: set[int], seen: set[int]) -> Iterator[Annotation]:
    """Annotations that we know whose task is not there any more. tasks: all that are there, twins too."""
    for annotation_id, (task_id, uid) in book.living(title).items():
        if task_id not in tasks and annotation_id not in seen and uid is not None:
            yield Annotation(annotation_id, uid, task_id, DELETED, "its task was deleted there")


def _name(user: Any, url: str, pseudonymous: bool) -> str | None:
    """Who it was: a pseudonym that stays the same on one server, or the id and mail address that the server tells."""
    number = _user(user)
    if number is None:
        return None
    if pseudonymous:
        return f"person-{hashlib.sha256(f'{url} {number}'.encode()).hexdigest()[:8]}"
    return str(user.get("email") or number) if isinstance(user, dict) else str(number)


def _user(user: Any) -> int | None:
    number = user.get("id") if isinstance(user, dict) else user
    return number if type(number) is int else None


def _seconds(lead_time: Any) -> float | None:
    is_time = isinstance(lead_time, int | float) and SHORTEST_S <= lead_time <= LONGEST_S
    return float(lead_time) if is_time else None


def _earlier(cursor: str) -> str:
    told = (datetime.fromisoformat(cursor) - OVERLAP).isoformat(timespec="microseconds")  # the server wants all six
    return told.replace("+00:00", "Z")
