"""Push: every waiting task is on the server once, whatever broke on the way; what nobody wants is taken back."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from annotators.label_studio.client import LabelStudio, LabelStudioBusyError, Mark
from annotators.label_studio.tasks import PersonTask, as_json
from curate.ledger.labels import LabelBook, LabelProject
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
    _share(server, wanted, there)
    book.seen(project.title, {uid: mark.task_id for uid, mark in there.items()})
    return Pushed(project.title, project_id, len(wanted), len(wanted) - first, removed)


def take_back(server: LabelStudio, book: LabelBook, project: LabelProject, uids: set[str]) -> set[str]:
    """Remove tasks of a project that nobody began: no annotation, nothing skipped, no draft. Which ones are gone now.

    The ledger forgets them, too.
    """
    untouched = uids - book.worked(project.title)
    if not untouched:
        return set()
    is_there = server.has_project(project.remote_id, project.title)
    marks = server.task_marks(project.remote_id) if is_there else []
    idle = [mark for mark in marks if mark.uid in untouched and mark.annotations == 0]
    begun = server.begun_tasks(project.remote_id) if idle else set()
    for mark in idle:
        if mark.task_id not in begun:
            server.delete_task(mark.task_id)
    kept = {mark.uid for mark in marks if mark.annotations or mark.task_id in begun}
    gone = untouched - kept
    book.forget(gone)
    return gone


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
    note = LabelProject(project.title, project_id, project.pipeline, project.annotator, project.step, None)
    book.note_project(note, server.url)
    return project_id


def _reconciled(server: LabelStudio, project_id: int) -> tuple[dict[str, Mark], int]:
    """The mark of each uid; of tasks that are there twice those without work are removed, but the first."""
    found: dict[str, list[Mark]] = {}
    for mark in server.task_marks(project_id):
        if mark.uid:
            found.setdefault(mark.uid, []).append(mark)
    removed = 0
    for twins in found.values():
        twins.sort(key=lambda twin: (twin.annotations == 0, twin.task_id))
        for twin in twins[1:]:
            if twin.annotations == 0:
                server.delete_task(twin.task_id)
                removed += 1
    return {uid: twins[0] for uid, twins in found.items()}, removed


def _share(server: LabelStudio, wanted: Mapping[str, PersonTask], there: Mapping[str, Mark]) -> None:
    """Tell the server of each task how many people shall do it: it gives it to that many, and then to nobody."""
    for uid, task in wanted.items():
        mark = there[uid]
        if mark.people != task.people:
            server.share_task(mark.task_id, task.people, is_done=mark.annotations >= task.people)


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
