"""Which project a task belongs to: one configuration and some thousand tasks each. Pure."""

import json
from collections.abc import Mapping, Sequence

from annotators.label_studio.screens import Step
from annotators.label_studio.tasks import PersonTask, shown
from curate.identity import content_id
from curate.ledger.labels import PlannedTask

MOST_PROJECTS = 10_000


def titles_of(pipeline: str, annotator: str, step: Step, shown: str, told: str) -> list[str]:
    """The names of all projects of one configuration, in order; more than will be needed.

    They tell the configuration by 10 hexadecimal digits over all of it, as the server takes 50 characters.
    """
    configuration = content_id("label project", pipeline, annotator, shown, told)[:10]
    who = f"{pipeline[:14]} {annotator[:14]}" if step is Step.CORRECT else f"{pipeline[:10]} {annotator[:10]} {step}"
    told_as = " ".join(who.split())  # the server cuts white space at the ends, and would not find its title again
    return [f"{told_as} {configuration} {shard:04d}".strip() for shard in range(MOST_PROJECTS)]


def planned(task: PersonTask, title: str, pipeline: str, annotator: str) -> PlannedTask:
    """The task as the ledger keeps it."""
    return PlannedTask(
        uid=task.uid,
        title=title,
        pair_id=task.pair_id,
        annotator=annotator,
        answer=task.kept,
        draft=task.draft,
        data_hash=data_hash(shown(task)),
        pipeline=pipeline,
        step=str(task.step),
        subject=json.dumps(task.subject),
    )


def data_hash(texts: Mapping[str, str]) -> str:
    """Content id of all that a task shows, so that a change on the server is seen."""
    return content_id("data", texts.get("question"), texts.get("answer"), *_others(texts))


def _others(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted((name, text) for name, text in texts.items() if name not in {"question", "answer"})


def sharded(
    tasks: Sequence[PersonTask], counts: Mapping[str, int], places: Mapping[str, str], titles: Sequence[str], size: int
) -> dict[str, list[PersonTask]]:
    """The tasks by title. A task stays in the project that it was planned for; new ones fill the last one, then more.

    counts: tasks that titles have. places: the title of each task that was planned, by uid. titles: all names in order.
    """
    counts = dict(counts)
    free = iter(title for title in titles if counts.get(title, 0) < size)
    current = next(free)
    found: dict[str, list[PersonTask]] = {}
    for task in tasks:
        title = places.get(task.uid)
        if title is None:
            if counts.get(current, 0) >= size:
                current = next(free)
            title = current
            counts[title] = counts.get(title, 0) + 1
        found.setdefault(title, []).append(task)
    return found
