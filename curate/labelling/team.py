"""The projects of one team: its tasks by step, each in a project of its configuration, with gold ones among them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from annotators.label_studio.screens import Step, configuration_hash, instruction, screen
from annotators.label_studio.tasks import PersonTask
from annotators.principles import Principle
from curate.config.annotating import LabelStudioConfig
from curate.labelling.gold import GoldRow, hidden, mixed
from curate.labelling.projects import planned, sharded, titles_of
from curate.labelling.push import Project, Pushed, push, take_back
from curate.ledger.labels import Gold, LabelBook, PlannedTask

if TYPE_CHECKING:
    from annotators.label_studio.client import LabelStudio

FIRST = (Step.CORRECT, Step.HARMLESS)
"""Steps that gold tasks hide in."""


@dataclass(frozen=True)
class Share:
    """What one project is to hold: tasks that wait, and gold ones."""

    project: Project
    tasks: list[PersonTask]
    gold: list[tuple[PersonTask, Gold]]


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

    def push(
        self, server: "LabelStudio", book: LabelBook, tasks: Sequence[PersonTask], say: Callable[[str], None]
    ) -> list[Pushed]:
        """Bring all of a team's tasks to the server, and take back those that nobody wants and nobody began.

        A task of an earlier configuration (other principles, another screen) moves, unless somebody began it.
        """
        kinds = sorted({(task.step, len(task.texts)) for task in tasks})
        shares = [
            share
            for step, texts in kinds
            for share in self._shares(
                book, step, texts, [task for task in tasks if (task.step, len(task.texts)) == (step, texts)]
            )
        ]
        begun = self._take_back(server, book, shares, say)
        return [self._push(server, book, share, begun, say) for share in shares]

    def _shares(self, book: LabelBook, step: Step, texts: int, tasks: list[PersonTask]) -> Iterator[Share]:
        """The tasks of one step by project."""
        shown, told = screen(step, texts), instruction(step, self.principles)
        titles = titles_of(self.pipeline, self.name, step, configuration_hash(shown, told))
        ours = set(titles)
        sizes = {title: size for title, size in book.sizes().items() if title in ours}
        places = {uid: title for uid, title in book.titles_of(task.uid for task in tasks).items() if title in ours}
        for title, there in sharded(tasks, sizes, places, titles, self.settings.shard_tasks).items():
            project = Project(title, self.pipeline, self.name, step, shown, told, self.settings.batch_tasks)
            yield Share(project, there, self._hidden(book, project, there) if step in FIRST else [])

    def _hidden(self, book: LabelBook, project: Project, tasks: list[PersonTask]) -> list[tuple[PersonTask, Gold]]:
        known = {task.uid for task in book.tasks(project.title).values() if task.pair_id}
        count, step = len(known | {task.uid for task in tasks}), Step(project.step)
        return hidden(self.gold, self.pipeline, project.title, step, self.gold_share, count, self.seed)

    def _take_back(
        self, server: "LabelStudio", book: LabelBook, shares: list[Share], say: Callable[[str], None]
    ) -> set[str]:
        """Uids of tasks that are wanted elsewhere by now, but somebody began them where they are."""
        wanted = {
            task.uid: share.project.title
            for share in shares
            for task in (*share.tasks, *(task for task, _ in share.gold))
        }
        stay: set[str] = set()
        for project in book.projects(server.url):
            if (project.pipeline, project.annotator) != (self.pipeline, self.name):
                continue
            out_of_place = {uid for uid in book.tasks(project.title) if wanted.get(uid) != project.title}
            gone = take_back(server, book, project, out_of_place)
            stay |= out_of_place - gone
            if gone:
                say(f"{project.title}: {len(gone):,} tasks that nobody began are taken back")
        return stay & wanted.keys()

    def _push(
        self, server: "LabelStudio", book: LabelBook, share: Share, begun: set[str], say: Callable[[str], None]
    ) -> Pushed:
        title, tasks = share.project.title, [task for task in share.tasks if task.uid not in begun]
        gold = [task for task, _ in share.gold]
        book.plan([planned(task, title, self.name) for task in (*tasks, *gold)], [known for _, known in share.gold])
        known = book.tasks(title)
        return push(server, book, share.project, [_as_planned(task, known) for task in mixed(tasks, gold)], say)


def _as_planned(task: PersonTask, known: Mapping[str, PlannedTask]) -> PersonTask:
    """The task with the draft that it was planned with: a model may have written another one since."""
    return replace(task, draft=known[task.uid].draft)
