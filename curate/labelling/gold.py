"""Gold tasks: pairs whose right correction is known, hidden among people's work. What is right stays in our ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotators.label_studio.results import FINE, REJECT
from annotators.label_studio.screens import Step
from annotators.label_studio.tasks import PersonTask
from curate.identity import content_id
from curate.labelling.reports import CHANGED
from curate.ledger.labels import Gold
from schemas.errors import SourceError

NO_PAIR = ""
"""A gold task belongs to no pair, so nothing of it reaches the data."""


@dataclass(frozen=True)
class GoldRow:
    """A question, an answer and the right correction: equal to the answer, another text, or empty (reject).

    draft: where people begin, if not at the answer.
    """

    question: str
    answer: str
    correction: str
    draft: str | None = None

    @property
    def verdict(self) -> str:
        """fine, changed or reject."""
        if not self.correction.strip():
            return REJECT
        return FINE if self.correction == self.answer else CHANGED


def read_gold(path: Path, name: str, *, has_drafts: bool = False) -> list[GoldRow]:
    """The rows of a file with question, answer and correction. Raises SourceError with file and row.

    has_drafts: it must have `draft`, too, as the other tasks do: a gold one would be known without.
    """
    from curate.providers.recorded import recorded_rows

    if not path.is_file():
        raise SourceError(f"there is no file {name} ({path})", do="correct `gold` of the annotator")
    columns = ("question", "answer", "correction", *(("draft",) if has_drafts else ()))
    return [GoldRow(*row) for row in recorded_rows(path, name, columns)]


def hidden(
    rows: Sequence[GoldRow], pipeline: str, title: str, step: Step, count: int, seed: int
) -> list[tuple[PersonTask, Gold]]:
    """The gold tasks of a project: so many rows, drawn by title and seed, each once; more of them keep the first."""
    ordered = sorted(rows, key=lambda row: content_id("gold", title, seed, row.question, row.answer))
    found = []
    for row in ordered[:count]:
        uid = content_id("label", pipeline, title, row.question, row.answer)
        task = PersonTask(uid, NO_PAIR, row.question, row.answer, row.draft or row.answer, step)
        found.append((task, Gold(uid, row.verdict, row.correction or None)))
    return found


def mixed(tasks: Sequence[PersonTask], gold: Sequence[PersonTask]) -> list[PersonTask]:
    """All tasks in the order in which people get them: gold ones spread among the others, at places nobody can tell."""
    places = [(number + 0.5, task) for number, task in enumerate(tasks)]
    drawn = [(int(task.uid[:12], 16) / 16**12 * max(1, len(tasks)), task) for task in gold]
    return [task for _, task in sorted([*places, *drawn], key=lambda one: (one[0], one[1].uid))]
