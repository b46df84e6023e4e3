"""`curate label`: people's work between the ledger and Label Studio."""

import time
from typing import Annotated, Any

import typer

from curate.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName
from curate.cli.output import print_json, table, visible

app = typer.Typer(help="People's corrections in Label Studio: push tasks, pull work, see how far it is.")


@app.command("push")
def push(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Bring every task that waits for people to the server; what is there already is not sent again."""
    from dataclasses import asdict

    from curate.config.reading import read_pipeline
    from curate.stages.annotate.people import push_tasks
    from curate.store.run import RunStore

    chosen = read_pipeline(config, pipeline)
    found = [asdict(one) for one in push_tasks(chosen, RunStore(chosen.workdir), _say)]
    _show(found, as_json=as_json, nothing="no task waits for people")


@app.command("pull")
def pull(
    whole: Annotated[bool, typer.Option("--whole", help="Look at every task, not only at changed ones.")] = False,
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Bring what people did into the ledger; `curate run --stage annotate` then makes it corrections."""
    from dataclasses import asdict

    from curate.config.reading import read_pipeline
    from curate.stages.annotate.people import pull_work

    found = [asdict(one) for one in pull_work(read_pipeline(config, pipeline), _say, whole=whole)]
    _show(found, as_json=as_json, nothing="nothing was pushed to this server yet")


@app.command("adjudicate")
def adjudicate(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Bring pairs whose corrections differ to the server, where a person chooses; push does it, too."""
    from dataclasses import asdict

    from curate.config.reading import read_pipeline
    from curate.stages.annotate.people import push_adjudications
    from curate.store.run import RunStore

    chosen = read_pipeline(config, pipeline)
    found = [asdict(one) for one in push_adjudications(chosen, RunStore(chosen.workdir), _say)]
    _show(found, as_json=as_json, nothing="no pair waits for an adjudicator")


@app.command("sync")
def sync(
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    every_s: Annotated[float, typer.Option(min=1.0, help="Seconds between two looks.")] = 30.0,
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Push, then pull; with --watch again and again."""
    from curate.config.reading import read_pipeline
    from curate.stages.annotate.people import pull_work, push_tasks
    from curate.store.run import RunStore
    from schemas.errors import LabelStudioError, LockedError

    chosen = read_pipeline(config, pipeline)
    while True:
        try:
            push_tasks(chosen, RunStore(chosen.workdir), _say)
            pull_work(chosen, _say)
        except (LabelStudioError, LockedError) as error:
            if not watch:
                raise
            _say(f"{error.what}; trying again in {every_s:g} s")
        if not watch:
            return
        time.sleep(every_s)


@app.command("status")
def status(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show projects, people and what is in quarantine, as the ledger knows them; asks no server."""
    from curate.config.reading import read_pipeline
    from curate.labelling.reports import people, projects, quarantine
    from curate.ledger.labels import LabelBook

    with LabelBook(read_pipeline(config, pipeline).workdir / "ledger.sqlite") as book:
        found = {"projects": projects(book), "people": people(book), "quarantine": quarantine(book)}
    if as_json:
        print_json(found)
        return
    if not found["projects"]:
        typer.echo("nothing was pushed yet: curate label push")
        return
    parts = [_projects(found["projects"])]
    parts += [_people(found["people"])] if found["people"] else []
    parts += [_quarantine(found["quarantine"])] if found["quarantine"] else []
    typer.echo("\n\n".join(parts))


def _projects(rows: list[dict[str, Any]]) -> str:
    names = ("title", "step", "tasks", "pushed", "done", "skipped", "quarantined", "people")
    return table(("project", *names[1:]), [[_cell(row[name]) for name in names] for row in rows])


def _people(rows: list[dict[str, Any]]) -> str:
    """Who did how much, how fast and how well; shares are of 1."""
    names = ("person", "done", "fine", "minor", "major", "reject", "other_steps", "per_hour")
    header = (*names[:6], "other", "per hour", "gold", "same verdict", "accepted")
    cells = [
        [
            *(_cell(row[name]) for name in names),
            _of(row["gold_score"], row["gold"]),
            _of(row["same_verdict"], row["shared"]),
            f"{row['accepted']} of {seen}" if (seen := row["accepted"] + row["rejected"] + row["sent_back"]) else "",
        ]
        for row in rows
    ]
    return table(header, cells)


def _of(share: float | None, count: int) -> str:
    return "" if share is None else f"{share:.2f} of {count:,}"


def _quarantine(rows: list[dict[str, Any]]) -> str:
    names = ("title", "annotation_id", "person", "why")
    return table(("in quarantine", *names[1:]), [[_cell(row[name]) for name in names] for row in rows])


def _show(rows: list[dict[str, Any]], *, as_json: bool, nothing: str) -> None:
    if as_json:
        print_json(rows)
    else:
        typer.echo(_as_table(rows) if rows else nothing)


def _as_table(rows: list[dict[str, Any]]) -> str:
    return table(list(rows[0]), [[_cell(value) for value in row.values()] for row in rows])


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 1)
    return visible(value) if isinstance(value, str) else value


def _say(text: str) -> None:
    typer.echo(visible(text), err=True)
