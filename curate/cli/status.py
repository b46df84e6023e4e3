"""`curate status`: stages, row accounting, money."""

from typing import Any

import typer

from curate.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName
from curate.cli.output import print_json, table, visible


def command(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show which stages are done, how their rows add up, what calls cost, and the releases."""
    from curate.config.reading import read_pipeline
    from curate.report import status

    found = status(read_pipeline(config, pipeline))
    if as_json:
        print_json(found)
        return
    typer.echo(f"{found['pipeline']}  ({found['workdir']})\n")
    typer.echo(
        table(("stage", "state", "unit", "in", "kept", "dropped", "failed", "waiting"), map(_row, found["stages"]))
    )
    for title, column in (
        ("Dropped by", "dropped_by"),
        ("Failed by", "failed_by"),
        ("Tagged, and kept, by", "tagged_by"),
    ):
        reasons = [(stage["stage"], *item) for stage in found["stages"] for item in stage.get(column, {}).items()]
        if reasons:
            typer.echo(f"\n{title}\n" + table(("stage", "reason", "rows"), reasons))
    if found["calls"]:
        typer.echo("\nCalls")
        columns = ("stage", "model", "calls", "input_tokens", "output_tokens", "cost_usd")
        typer.echo(table(columns, ([call[column] for column in columns] for call in found["calls"])))
    typer.echo(f"\nReleases: {', '.join(found['releases']) or 'none'}")
    for stage in found["stages"]:
        if problem := stage.get("problem"):
            typer.echo(f"\n{stage['stage']} is {stage['state']}: {visible(problem)}")


def _row(stage: dict[str, Any]) -> list[Any]:
    accounting = stage.get("accounting", {})
    names = ("unit", "rows_in", "kept", "dropped", "failed", "waiting")
    return [stage["stage"], stage["state"], *(accounting.get(name) for name in names)]
