"""People's share of the stage: the tasks that wait become work in Label Studio, and what they did comes back."""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from annotators.label_studio.screen import configuration_hash, instruction
from annotators.label_studio.tasks import PersonTask, shown_question, storable
from annotators.principles import chosen
from curate.config.model import Pipeline
from curate.identity import content_id
from curate.ledger.labels import LabelBook, PlannedTask, content_of_rulings
from curate.progress import Progress
from curate.stages.annotate.correcting import tasks
from curate.stages.annotate.recipes import PEOPLE
from curate.store.run import RunStore
from schemas.errors import ConfigError, CurateError

if TYPE_CHECKING:
    from annotators.label_studio.client import LabelStudio
    from curate.labelling.pull import Pulled
    from curate.labelling.push import Pushed

CORRECT = "correct"
"""Why a task waits: somebody must write the correction."""


def fetch(pipeline: Pipeline, progress: Progress) -> None:
    """Before the stage is looked at: bring what people did. A server that is down holds nobody up."""
    if not _are_people_asked(pipeline):
        return
    with LabelBook(pipeline.workdir / "ledger.sqlite") as book:
        is_anything_there = bool(book.counts())
    if is_anything_there:
        _told(lambda: pull_work(pipeline, progress.say), progress)


def offer(pipeline: Pipeline, store: RunStore, progress: Progress) -> None:
    """After the stage was published: bring the tasks that wait to the server. One that is down holds nobody up."""
    if _are_people_asked(pipeline) and store.published("annotate").rows("waiting"):
        _told(lambda: push_tasks(pipeline, store, progress.say), progress)


def key_of_people(pipeline: Pipeline) -> dict[str, list[list[object]]]:
    """What people said, as far as it is in the ledger; nothing where nobody is asked."""
    if not any(one.kind == PEOPLE for one in pipeline.config.annotate.annotators):
        return {}
    return {"people": content_of_rulings(pipeline.workdir / "ledger.sqlite")}


def _are_people_asked(pipeline: Pipeline) -> bool:
    config = pipeline.config.annotate
    return config.label_studio is not None and any(one.kind == PEOPLE for one in config.annotators)


def _told(work: Callable[[], object], progress: Progress) -> None:
    try:
        work()
    except CurateError as error:
        progress.say(f"Label Studio could not be reached, people's work stays as it is: {error.what}")


def server_of(pipeline: Pipeline) -> "LabelStudio":
    """The configured server. Raises ConfigError where there is none, or its token is not set; MissingExtraError."""
    settings = pipeline.config.annotate.label_studio
    if settings is None:
        raise ConfigError(
            f"the pipeline {pipeline.name} names no Label Studio",
            do=f"add [pipelines.{pipeline.name}.annotate.label_studio]",
        )
    token = os.environ.get(settings.token_env, "").strip()
    if not token:
        raise ConfigError(
            f"the environment variable {settings.token_env} (token_env of annotate.label_studio) is not set",
            do=f"export {settings.token_env}=… ; docs/label-studio.md says where the token is",
        )
    from annotators.label_studio.client import LabelStudio

    return LabelStudio(settings.url, token)


def push_tasks(pipeline: Pipeline, store: RunStore, say: Callable[[str], None]) -> "list[Pushed]":
    """Bring every task that waits for people to the server, once. Raises LabelStudioError."""
    from curate.labelling.projects import sharded, title_of
    from curate.labelling.push import Project, push

    settings, pushed = pipeline.config.annotate.label_studio, []
    with server_of(pipeline) as server, LabelBook(pipeline.workdir / "ledger.sqlite") as book:
        server.whoami()
        if settings is None:
            raise AssertionError
        for one in pipeline.config.annotate.annotators:
            if one.kind != PEOPLE:
                continue
            told = instruction(chosen(one.principles, pipeline.folder))
            configuration = configuration_hash(told)
            waiting = dict(_waiting(pipeline, store, one.name))
            titles = [title_of(pipeline.name, one.name, configuration, shard) for shard in range(MOST_PROJECTS)]
            people = {task.uid: task for task in waiting.values()}
            known = {title: book.tasks(title) for title in sorted(book.titles() & set(titles))}
            for title, planned in sharded(list(waiting), known, titles, settings.shard_tasks).items():
                book.plan(planned)
                project = Project(title, one.name, told, settings.batch_tasks)
                pushed.append(push(server, book, project, [people[task.uid] for task in planned], say))
        if pushed and server.database(pushed[-1].project_id) == "sqlite":
            say(f"{server.url} is on SQLite: for one annotator only; see docs/label-studio.md")
    return pushed


def pull_work(pipeline: Pipeline, say: Callable[[str], None], *, whole: bool = False) -> "list[Pulled]":
    """Bring what people did into the ledger. whole: look at every task, not only at changed ones.

    Raises LabelStudioError.
    """
    from curate.labelling.pull import pull

    settings = pipeline.config.annotate.label_studio
    with server_of(pipeline) as server, LabelBook(pipeline.workdir / "ledger.sqlite") as book:
        server.whoami()
        if settings is None:
            raise AssertionError
        return pull(server, book, say, pseudonymous=settings.pseudonymous, whole=whole)


def _waiting(pipeline: Pipeline, store: RunStore, annotator: str) -> Iterator[tuple[PlannedTask, PersonTask]]:
    """The tasks of the pairs that wait for this annotator, without a title yet.

    A task's uid depends on pipeline, annotator, pair and texts alone, so the same task is never made twice. Where the
    correction begins (the draft) is the answer itself.
    """
    import polars as pl

    is_meant = (pl.col("annotator") == annotator) & (pl.col("reason") == CORRECT)
    waiting = store.table("annotate", "waiting").filter(is_meant).select("pair_id").collect()
    for pairs in store.frames("dedup", "pairs"):
        for task in tasks(pairs.join(waiting, on="pair_id", how="semi", maintain_order="left")):
            question, answer = shown_question(task), task.answer
            uid = content_id("label", pipeline.name, annotator, task.pair_id, question, answer, answer)
            data_hash = content_id("data", storable(question), storable(answer))
            planned = PlannedTask(uid, "", task.pair_id, annotator, answer, answer, data_hash)
            yield planned, PersonTask(uid, task.pair_id, question, answer, answer)


MOST_PROJECTS = 10_000
