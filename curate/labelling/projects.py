"""Which project a task belongs to: one configuration and some thousand tasks each. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from curate.ledger.labels import PlannedTask

LONGEST_TITLE = 50
"""Characters that the server takes."""


def title_of(pipeline: str, annotator: str, configuration: str, shard: int) -> str:
    """The name of a project."""
    return f"{pipeline[:14]} {annotator[:14]} {configuration} {shard:04d}"[:LONGEST_TITLE]


def sharded(
    tasks: Sequence[PlannedTask], known: Mapping[str, Mapping[str, PlannedTask]], titles: Sequence[str], size: int
) -> dict[str, list[PlannedTask]]:
    """The tasks by title. A task stays in the project that it was planned for; new ones fill the last one, then more.

    known: of each title that has tasks, those by uid. titles: all names in order, more than will be needed.
    """
    place_of = {uid: title for title, there in known.items() for uid in there}
    counts = {title: len(there) for title, there in known.items()}
    free = iter(title for title in titles if counts.get(title, 0) < size)
    current = next(free)
    found: dict[str, list[PlannedTask]] = {}
    for task in tasks:
        title = place_of.get(task.uid)
        if title is None:
            if counts.get(current, 0) >= size:
                current = next(free)
            title = current
            counts[title] = counts.get(title, 0) + 1
        found.setdefault(title, []).append(replace(task, title=title))
    return found
