"""Push: every waiting task is on the server once, whatever broke on the way."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from annotators.label_studio.client import LabelStudio, LabelStudioBusyError
from annotators.label_studio.screen import SCREEN
from annotators.label_studio.tasks import PersonTask, as_json
from curate.ledger.labels import LabelBook
from schemas.errors import LabelStudioError

PAUSE_S = 1.0
STABLE_LOOKS = 2
MOST_LOOKS = 120
MOST_IDLE = 10
"""Imports in a row that bring nothing new before the push gives up."""


@dataclass(frozen=True)
class Project:
    """One project as it is to be. annotator: of the configuration. batch_tasks: of one import."""

    title: str
    annotator: str
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
    book.seen(project.title, there)
    return Pushed(project.title, project_id, len(wanted), len(wanted) - first, removed)


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
            server.create_project(project.title, SCREEN, project.instruction, overlap=1)
        except LabelStudioBusyError:
            time.sleep(PAUSE_S)  # it may have been made: look before anything is asked again
        found = server.projects(project.title)
    if len(found) != 1:
        raise LabelStudioError(
            f'{server.url} has {len(found)} projects named "{project.title}"',
            do="remove those that are empty, then push again",
        )
    project_id = int(found[0]["id"])
    there = str(server.project(project_id).get("label_config", ""))
    if there.split() != SCREEN.split():
        raise LabelStudioError(
            f'the project "{project.title}" has another labelling configuration than ours',
            do="put ours back (annotators/label_studio/screen.xml), or rename that project and push again",
        )
    book.note_project(project.title, server.url, project.annotator, project_id)
    return project_id


def _reconciled(server: LabelStudio, project_id: int) -> tuple[dict[str, int], int]:
    """The server's id of each uid; of tasks that are there twice those without work are removed, but the first."""
    found: dict[str, list[tuple[int, int]]] = {}
    for task_id, uid, annotations in server.task_marks(project_id):
        if uid:
            found.setdefault(uid, []).append((task_id, annotations))
    removed = 0
    for twins in found.values():
        twins.sort(key=lambda twin: (twin[1] == 0, twin[0]))
        for task_id, annotations in twins[1:]:
            if annotations == 0:
                server.delete_task(task_id)
                removed += 1
    return {uid: twins[0][0] for uid, twins in found.items()}, removed


def _wait_until_stable(server: LabelStudio, project_id: int) -> None:
    """An import that timed out may still be at work: wait until the count has not changed for some looks."""
    last, same = -1, 0
    for _ in range(MOST_LOOKS):
        time.sleep(PAUSE_S)
        try:
            count = len(server.task_marks(project_id))
        except LabelStudioBusyError:
            continue
        same = same + 1 if count == last else 0
        last = count
        if same >= STABLE_LOOKS:
            return
