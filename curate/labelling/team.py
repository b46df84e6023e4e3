"""The projects of one team: its tasks by step, each in a project of its configuration, with gold ones among them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from annotators.label_studio.screens import FIRST, Step, instruction, screen
from annotators.label_studio.tasks import PersonTask
from annotators.principles import Principle
from curate.config.annotating import LabelStudioConfig
from curate.labelling.gold import GoldRow, hidden, mixed
from curate.labelling.projects import planned, sharded, titles_of
from curate.labelling.push import Project, Pushed, push, take_back
from curate.ledger.labels import Gold, LabelBook, LabelProject, PlannedTask

if TYPE_CHECKING:
    from annotators.label_studio.client import LabelStudio

Say = Callable[[str], None]


@dataclass(frozen=True)
class Team:
    """People of one name in the configuration, or the adjudicators. gold_share: gold tasks for each other task."""

    pipeline: str
    name: str
    settings: LabelStudioConfig
    principles: Sequence[Principle]
    seed: int
    gold: Sequence[GoldRow] = ()
    gold_share: float = 0.0


@dataclass(frozen=True)
class Holding:
    """What one project is to hold: tasks that wait, and gold ones."""

    project: Project
    tasks: list[PersonTask]
    gold: list[tuple[PersonTask, Gold]]

    @property
    def uids(self) -> set[str]:
        """Of all its tasks."""
        return {task.uid for task in (*self.tasks, *(task for task, _ in self.gold))}


def push_team(
    server: "LabelStudio", book: LabelBook, team: Team, tasks: Sequence[PersonTask], say: Say
) -> list[Pushed]:
    """Bring all of a team's tasks to the server, and take back those that nobody wants and nobody began.

    A task of an earlier configuration (other principles, another screen) moves, unless somebody began it; one whose
    project is not there any more (removed, another server) moves in any case, with all that people did.
    """
    ours = [one for one in book.projects() if (one.pipeline, one.annotator) == (team.pipeline, team.name)]
    there = {one.title: one for one in ours if one.url == server.url and server.has_project(one.remote_id, one.title)}
    gone = {one.title for one in ours} - there.keys()
    kinds = {(task.step, len(task.texts), task.is_two_stage) for task in tasks}
    holdings = [
        holding
        for kind in sorted(kinds)
        for holding in _holdings(
            book, team, kind, [one for one in tasks if (one.step, len(one.texts), one.is_two_stage) == kind], gone
        )
    ]
    begun = _take_back(server, book, holdings, there, say)
    return [_push(server, book, team, holding, begun, say) for holding in holdings]


def take_all_back(server: "LabelStudio", book: LabelBook, pipeline: str, names: Iterable[str], say: Say) -> None:
    """Take back what nobody began of teams that are not in the configuration any more."""
    known = set(names)
    there = {
        one.title: one
        for one in book.projects(server.url)
        if one.pipeline == pipeline and one.annotator not in known and server.has_project(one.remote_id, one.title)
    }
    _take_back(server, book, [], there, say)


def _holdings(
    book: LabelBook, team: Team, kind: tuple[Step, int, bool], tasks: list[PersonTask], gone: set[str]
) -> Iterator[Holding]:
    """The tasks of one screen by project."""
    step, texts, is_two_stage = kind
    shown, told = screen(step, texts, is_two_stage=is_two_stage), instruction(step, team.principles)
    titles = [one for one in titles_of(team.pipeline, team.name, step, shown, told) if one not in gone]
    ours = set(titles)
    sizes = {title: size for title, size in book.sizes().items() if title in ours}
    places = {uid: title for uid, title in book.places(task.uid for task in tasks).items() if title in ours}
    for title, there in sharded(tasks, sizes, places, titles, team.settings.shard_tasks).items():
        project = Project(title, team.pipeline, team.name, step, shown, told, team.settings.batch_tasks)
        gold: list[tuple[PersonTask, Gold]] = []
        if step in FIRST:
            count = len(book.uids(title, gold=False) | {task.uid for task in there})
            gold = hidden(team.gold, team.pipeline, title, step, math.ceil(team.gold_share * count), team.seed)
        yield Holding(project, there, gold)


def _take_back(
    server: "LabelStudio", book: LabelBook, holdings: list[Holding], there: Mapping[str, LabelProject], say: Say
) -> set[str]:
    """Uids of tasks that are wanted in another project by now, but somebody began them where they are."""
    wanted = {uid: holding.project.title for holding in holdings for uid in holding.uids}
    begun: set[str] = set()
    for title, project in there.items():
        out_of_place = {uid for uid in book.uids(title) if wanted.get(uid) != title}
        asked = out_of_place - (book.worked(title) - wanted.keys())
        stay = take_back(server, book, project, asked)
        begun |= stay
        if taken := len(asked - stay):
            say(f"{title}: {taken:,} tasks that nobody began are taken back")
    return begun & wanted.keys()


def _push(server: "LabelStudio", book: LabelBook, team: Team, holding: Holding, begun: set[str], say: Say) -> Pushed:
    title, gold = holding.project.title, [task for task, _ in holding.gold]
    tasks = [task for task in holding.tasks if task.uid not in begun]
    elsewhere = [uid for uid, place in book.places(task.uid for task in tasks).items() if place != title]
    book.move(elsewhere, title)
    book.plan(
        [planned(task, title, team.pipeline, team.name) for task in (*tasks, *gold)],
        [known for _, known in holding.gold],
    )
    known = book.tasks(title)
    return push(server, book, holding.project, [_as_planned(task, known) for task in mixed(tasks, gold)], say)


def _as_planned(task: PersonTask, known: Mapping[str, PlannedTask]) -> PersonTask:
    """The task with the draft that it was planned with: a model may have written another one since."""
    return replace(task, draft=known[task.uid].draft)
