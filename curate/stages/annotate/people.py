"""People's share of the stage: the tasks that wait become work in Label Studio, and what they did comes back."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from annotators.label_studio.screens import Step
from annotators.label_studio.tasks import PersonTask, shown_question
from annotators.principles import chosen
from curate.config.annotating import ADJUDICATOR, PRINCIPLES, AnnotatorConfig
from curate.config.model import Pipeline
from curate.labelling.team import Team, push_team, take_all_back
from curate.ledger.labels import LabelBook, Rulings, content_of_rulings
from curate.progress import Progress
from curate.stages.annotate.correcting import tasks
from curate.stages.annotate.recipes import PEOPLE
from curate.stages.annotate.standings import standings
from curate.store.lock import writer_lock
from curate.store.run import RunStore
from schemas.errors import ConfigError, CurateError, UsageError

if TYPE_CHECKING:
    from annotators.label_studio.client import LabelStudio
    from curate.labelling.pull import Pulled
    from curate.labelling.push import Pushed

PATIENCE_S = 60.0
"""How long a push or pull waits for another one of the same working directory."""


def fetch(pipeline: Pipeline, progress: Progress) -> None:
    """Before the stage is looked at: bring what people did. A server that is down holds nobody up."""
    if not _are_people_asked(pipeline):
        return
    if _is_anything_there(pipeline):
        _told(lambda: pull_work(pipeline, progress.say), progress)


def offer(pipeline: Pipeline, store: RunStore, progress: Progress) -> None:
    """After the stage was published: bring the tasks that wait to the server. One that is down holds nobody up."""
    if not _are_people_asked(pipeline):
        return
    if store.published("annotate").rows("waiting") or _is_anything_there(pipeline):
        _told(lambda: push_tasks(pipeline, store, progress.say), progress)


def key_of_people(pipeline: Pipeline) -> dict[str, list[list[object]]]:
    """What people said, as far as it is in the ledger; nothing where nobody is asked."""
    if not _have_people_a_say(pipeline):
        return {}
    return {"people": content_of_rulings(pipeline.workdir / "ledger.sqlite", pipeline.name)}


def _are_people_asked(pipeline: Pipeline) -> bool:
    return pipeline.config.annotate.label_studio is not None and _have_people_a_say(pipeline)


def _have_people_a_say(pipeline: Pipeline) -> bool:
    config = pipeline.config.annotate
    return any(one.kind == PEOPLE for one in config.annotators) or config.overlap.adjudicate == "person"


def _is_anything_there(pipeline: Pipeline) -> bool:
    with LabelBook(pipeline.workdir / "ledger.sqlite") as book:
        return bool(book.sizes())


def _told(work: Callable[[], object], progress: Progress) -> None:
    try:
        work()
    except CurateError as error:
        progress.say(f"people's work stays as it is: {error}")


@contextmanager
def _at_work(pipeline: Pipeline) -> "Iterator[tuple[LabelStudio, LabelBook]]":
    """The server and the ledger, for this process alone: two that push at once would make tasks twice."""
    with (
        writer_lock(pipeline.workdir, ".labels.lock", PATIENCE_S),
        server_of(pipeline) as server,
        LabelBook(pipeline.workdir / "ledger.sqlite") as book,
    ):
        server.check()
        for project in book.projects():  # a server may have another address by now
            if project.url != server.url and server.has_project(project.remote_id, project.title):
                book.readdress(project.title, server.url)
        yield server, book


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
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the environment variable {settings.token_env} holds a character that no token has",
            do="copy the token once more: one line, letters, digits and dots",
        )
    from annotators.label_studio.client import LabelStudio

    return LabelStudio(settings.url, token)


def push_tasks(pipeline: Pipeline, store: RunStore, say: Callable[[str], None]) -> "list[Pushed]":
    """Bring every task that waits for people to the server, once; take back what nobody wants and nobody began.

    Raises LabelStudioError.
    """
    with _at_work(pipeline) as (server, book):
        said, pushed = book.said(), []
        teams = [one for one in pipeline.config.annotate.annotators if one.kind == PEOPLE]
        for one in teams:
            team = _with_gold(pipeline, _team(pipeline, one.name, one.principles), one)
            pushed += push_team(server, book, team, list(_waiting(pipeline, store, one, said)), say)
        take_all_back(server, book, pipeline.name, [ADJUDICATOR, *(one.name for one in teams)], say)
        pushed += _push_adjudications(pipeline, store, server, book, say)
        if pushed and server.database(pushed[-1].project_id) == "sqlite":
            say(f"{server.url} is on SQLite: for one annotator only; see docs/label-studio.md")
        return pushed


def push_adjudications(pipeline: Pipeline, store: RunStore, say: Callable[[str], None]) -> "list[Pushed]":
    """Bring the corrections among which a person must choose to the server. Raises LabelStudioError, UsageError."""
    if pipeline.config.annotate.overlap.adjudicate != "person":
        raise UsageError(
            f"nothing waits for an adjudicator: adjudicate is {pipeline.config.annotate.overlap.adjudicate!r}",
            do=f'set adjudicate = "person" under [pipelines.{pipeline.name}.annotate.overlap]',
        )
    with _at_work(pipeline) as (server, book):
        return _push_adjudications(pipeline, store, server, book, say)


def _push_adjudications(
    pipeline: Pipeline, store: RunStore, server: "LabelStudio", book: LabelBook, say: Callable[[str], None]
) -> "list[Pushed]":
    is_asked = pipeline.config.annotate.overlap.adjudicate == "person"
    people = [one for one in pipeline.config.annotate.annotators if one.kind == PEOPLE]
    names = dict.fromkeys(name for one in people for name in one.principles)
    team = _team(pipeline, ADJUDICATOR, tuple(names) or PRINCIPLES)
    return push_team(server, book, team, list(_contested(pipeline, store)) if is_asked else [], say)


def _team(pipeline: Pipeline, name: str, principles: tuple[str, ...]) -> Team:
    settings = pipeline.config.annotate.label_studio
    if settings is None:
        raise AssertionError
    return Team(pipeline.name, name, settings, chosen(principles, pipeline.folder), pipeline.config.seed)


def _with_gold(pipeline: Pipeline, team: Team, one: AnnotatorConfig) -> Team:
    from curate.labelling.gold import read_gold

    if one.gold is None:
        return team
    rows = read_gold(pipeline.path(one.gold.path), one.gold.path, has_drafts=one.draft is not None)
    return replace(team, gold=rows, gold_share=one.gold.share)


def pull_work(pipeline: Pipeline, say: Callable[[str], None], *, whole: bool = False) -> "list[Pulled]":
    """Bring what people did into the ledger. whole: look at every task, not only at changed ones.

    Raises LabelStudioError.
    """
    from curate.labelling.pull import pull

    settings = pipeline.config.annotate.label_studio
    with _at_work(pipeline) as (server, book):
        if settings is None:
            raise AssertionError
        return pull(server, book, say, pseudonymous=settings.pseudonymous, whole=whole)


def _waiting(pipeline: Pipeline, store: RunStore, one: AnnotatorConfig, said: Rulings) -> Iterator[PersonTask]:
    """What is to be done next on the pairs that wait for some people, as far as the ledger knows by now."""
    import polars as pl

    is_meant = (pl.col("annotator") == one.name) & pl.col("reason").is_in(list(Step))
    rows = store.table("annotate", "waiting").filter(is_meant & (pl.col("reason") != Step.ADJUDICATE))
    waiting = rows.select("pair_id", "draft").unique("pair_id", keep="first", maintain_order=True).collect()
    drafts = {pair_id: draft for pair_id, draft in waiting.iter_rows() if draft is not None}
    for pairs in store.frames("dedup", "pairs"):
        some = list(tasks(pairs.join(waiting, on="pair_id", how="semi", maintain_order="left")))
        for found in standings(pipeline, one, some, drafts, said).values():
            yield from found.open


def _contested(pipeline: Pipeline, store: RunStore) -> Iterator[PersonTask]:
    """The pairs with several corrections, among which a person must choose."""
    import polars as pl

    from curate.labelling.workflow import adjudication

    ids = store.table("annotate", "waiting").filter(pl.col("reason") == str(Step.ADJUDICATE)).select("correction_id")
    rows = store.table("annotate", "candidates").join(ids, on="correction_id", how="semi").collect()
    by_pair: dict[str, list[tuple[str, str]]] = {}
    for pair_id, correction_id, text in rows.select("pair_id", "correction_id", "text").iter_rows():
        by_pair.setdefault(pair_id, []).append((correction_id, text))
    for pairs in store.frames("dedup", "pairs"):
        for task in tasks(pairs.join(rows, on="pair_id", how="semi", maintain_order="left")):
            texts = by_pair[task.pair_id]
            yield adjudication(pipeline.name, task.pair_id, shown_question(task), task.answer, texts)
