"""Push: every waiting task is on the server once, whatever broke on the way; what nobody wants is taken back."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotators.label_studio.client import LabelStudio, LabelStudioBusyError, Mark
from annotators.label_studio.tasks import PersonTask, as_json
from curate.ledger.labels import LabelBook, LabelProject
from schemas.errors import LabelStudioError

PAUSE_S = 1.0
STABLE_LOOKS = 2
MOST_LOOKS = 120
MOST_FAILED_LOOKS = 30
MOST_IDLE = 10
"""Imports in a row that bring nothing new before the push gives up."""


@dataclass(frozen=True)
class Project:
    """One project as it is to be. annotator: of the configuration. batch_tasks: of one import."""

    title: str
    pipeline: str
    annotator: str
    step: str
    screen: str
    instruction: str
    batch_tasks: int


@dataclass(frozen=True)
class Pushed:
    """What a push did with one project."""

    title: str
    project_id: int
    tasks: int
    sent: int
    removed: int


def push(
    server: LabelStudio, book: LabelBook, project: Project, tasks: Sequence[PersonTask], say: Callable[[str], None]
) -> Pushed:
    """Bring the tasks of one project to the server, where they are not there; its ledger must hold them as planned.

    Raises LabelStudioError. Run again, and only what is missing is sent.
    """
    project_id = _made(server, book, project)
    wanted = {task.uid: task for task in tasks}
    there, removed = _reconciled(server, project_id)
    first, idle = len(wanted.keys() & there.keys()), 0
    while missing := [task for uid, task in wanted.items() if uid not in there]:
        _import(server, project_id, missing, project, say)
        before = len(there)
        there, more = _reconciled(server, project_id)
        removed += more
        idle = 0 if len(there) > before else idle + 1
        if idle >= MOST_IDLE:
            raise LabelStudioError(
                f'{len(missing):,} tasks of "{project.title}" do not arrive', do="look at the server's log, push again"
            )
    unusable = book.unusable(project.title)
    _share(server, {uid: task.people + unusable.get(uid, 0) for uid, task in wanted.items()}, there)
    book.seen(project.title, {uid: mark.task_id for uid, mark in there.items()})
    return Pushed(project.title, project_id, len(wanted), len(wanted) - first, removed)


def take_back(server: LabelStudio, book: LabelBook, project: LabelProject, uids: set[str]) -> set[str]:
    """Remove tasks of a project that nobody began: no annotation, nothing skipped, no draft. Those that stay there.

    Each is looked at once more right before: people may be at work. The ledger forgets those that are gone, but what
    people did.
    """
    if not uids:
        return set()
    worked, stay = book.worked(project.title), set()
    for mark in server.task_marks(project.remote_id):
        if mark.uid not in uids:
            continue
        if mark.uid in worked or not mark.is_untouched or server.is_begun(project.remote_id, mark.task_id):
            stay.add(mark.uid)
        else:
            server.delete_task(mark.task_id)
    book.forget(uids - stay - worked)
    return stay


def _import(
    server: LabelStudio, project_id: int, missing: Sequence[PersonTask], project: Project, say: Callable[[str], None]
) -> None:
    """Send what is missing, some at a time, up to the first call that breaks: then what arrived must be listed."""
    for start in range(0, len(missing), project.batch_tasks):
        some = missing[start : start + project.batch_tasks]
        try:
            server.import_tasks(project_id, [as_json(task) for task in some])
        except LabelStudioBusyError as error:
            say(f"{error.what}; looking at what arrived")
            _wait_until_stable(server, project_id)
            return
        say(f"{project.title}: {start + len(some):,} of {len(missing):,} new tasks are sent")


def _made(server: LabelStudio, book: LabelBook, project: Project) -> int:
    """The id of the project, made if it is not there. Raises LabelStudioError where another one has its name."""
    found = server.projects(project.title)
    if not found:
        try:
            server.create_project(project.title, project.screen, project.instruction, overlap=1)
        except LabelStudioBusyError:
            time.sleep(PAUSE_S)  # it may have been made: look before anything is asked again
        found = server.projects(project.title)
    if len(found) > 1:
        found = _without_empty_twins(server, found)
    if len(found) != 1:
        raise LabelStudioError(
            f'{server.url} has {len(found)} projects named "{project.title}"',
            do="remove those that are empty, then push again",
        )
    project_id = int(found[0]["id"])
    there = str(server.project(project_id).get("label_config", ""))
    if there.split() != project.screen.split():
        raise LabelStudioError(
            f'the project "{project.title}" has another labelling configuration than ours',
            do="put ours back (annotators/label_studio/screens), or rename that project and push again",
        )
    book.note_project(
        LabelProject(
            title=project.title,
            url=server.url,
            origin=book.origin(server.url),
            remote_id=project_id,
            pipeline=project.pipeline,
            annotator=project.annotator,
            step=project.step,
            cursor=None,
        )
    )
    return project_id


def _without_empty_twins(server: LabelStudio, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of projects of one title the one that has tasks, or the first: a busy server may do one call twice."""
    ordered = sorted(found, key=lambda one: (not one.get("task_number"), int(one["id"])))
    for one in ordered[1:]:
        if not server.task_marks(int(one["id"])):
            server.delete_project(int(one["id"]))
            ordered.remove(one)
    return ordered


def _reconciled(server: LabelStudio, project_id: int) -> tuple[dict[str, Mark], int]:
    """The mark of each uid; of tasks that are there twice those without work are removed, but the first."""
    found: dict[str, list[Mark]] = {}
    for mark in server.task_marks(project_id):
        if mark.uid:
            found.setdefault(mark.uid, []).append(mark)
    removed = 0
    for twins in found.values():
        twins.sort(key=lambda twin: (not twin.done, twin.is_untouched, twin.task_id))
        for twin in twins[1:]:
            if twin.is_untouched and not server.is_begun(project_id, twin.task_id):
                server.delete_task(twin.task_id)
                removed += 1
    return {uid: twins[0] for uid, twins in found.items()}, removed


def _share(server: LabelStudio, people: Mapping[str, int], there: Mapping[str, Mark]) -> None:
    """Tell the server of each task how many people shall do it: it gives it to that many, and then to nobody.

    people: of each task that is wanted, and one more for each annotation that cannot be used: whoever wrote that is not
    asked again. Others that wanted more people than did them are done as they are.
    """
    for uid, mark in there.items():
        wanted = people.get(uid, min(mark.people, max(mark.done, 1)))
        if mark.people != wanted:
            server.share_task(mark.task_id, wanted, is_done=mark.done >= wanted)


def _wait_until_stable(server: LabelStudio, project_id: int) -> None:
    """An import that timed out may still be at work: wait until the count has not changed for some looks."""
    last, same, failed = -1, 0, 0
    for _ in range(MOST_LOOKS):
        time.sleep(PAUSE_S)
        try:
            count = len(server.task_marks(project_id))
        except LabelStudioBusyError:
            failed += 1
            if failed >= MOST_FAILED_LOOKS:
                raise
            continue
        failed = 0
        same = same + 1 if count == last else 0
        last = count
        if same >= STABLE_LOOKS:
            return
