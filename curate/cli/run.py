"""`curate run`: one stage, or every stage that is not done."""

import sys
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName
from curate.cli.output import print_json, table

if TYPE_CHECKING:
    from curate.config.model import Pipeline

WAITING = 3


class StageName(StrEnum):
    """The stages in order."""

    IMPORT = "import"
    FILTER = "filter"
    GENERATE = "generate"
    DEDUP = "dedup"
    ANNOTATE = "annotate"
    RELEASE = "release"
    TRAIN = "train"
    EVALUATE = "evaluate"


def command(
    stage: Annotated[StageName | None, typer.Option(help="One stage; without it every stage that is not done.")] = None,
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Run the stage although it is done: failed calls are asked once more, training starts anew."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what the stage would send and could cost; send nothing."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the pipeline: one stage, or every stage that is not done. Exit code 3: people must act first."""
    from curate.config.reading import read_pipeline
    from curate.pipeline import Outcome, run_all, run_stage
    from curate.progress import Progress
    from schemas.errors import UsageError

    if dry_run:
        if stage is None:
            raise UsageError("--dry-run needs --stage", do="name generate or annotate")
        _show_estimates(read_pipeline(config, pipeline), stage.value, as_json=as_json)
        return
    if again and stage is None:
        raise UsageError("--again needs --stage: running all stages again is never meant", do="name one stage")
    chosen = read_pipeline(config, pipeline)
    outcomes: list[Outcome] = []

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if not as_json:
            typer.echo(_line(outcome))

    progress = partial(Progress, as_json=as_json)
    if stage is None:
        is_through = run_all(chosen, done, progress)
    else:
        is_through = run_stage(chosen, stage.value, done, progress, again=again)
    if as_json:
        print_json({"pipeline": chosen.name, "stages": [_entry(outcome) for outcome in outcomes]})
    elif is_through and not any(outcome.ran for outcome in outcomes):
        stages = f"all {len(outcomes)} stages are" if stage is None else f"the stage {stage.value} is"
        typer.echo(f"nothing to do: {stages} done and nothing has changed")
    if not is_through:
        waiting = outcomes[-1].status.manifest
        count = waiting.accounting.waiting if waiting else 0
        sys.stderr.write(f"{count:,} rows of {outcomes[-1].name} wait for people; the run goes on when they are done\n")
        raise typer.Exit(WAITING)


def _show_estimates(pipeline: "Pipeline", stage: str, *, as_json: bool) -> None:
    from curate.pipeline import dry_run

    found = dry_run(pipeline, stage)
    names = ("model", "calls", "recorded", "to_send", "input_tokens", "output_tokens_at_most")
    costs = [None if one.cost_nano_usd_at_most is None else one.cost_nano_usd_at_most / 1e9 for one in found]
    rows = [[*(getattr(one, name) for name in names), cost] for one, cost in zip(found, costs, strict=True)]
    if as_json:
        named = [dict(zip((*names, "cost_usd_at_most"), row, strict=True)) for row in rows]
        print_json([{**row, "priced_on": one.priced_on} for row, one in zip(named, found, strict=True)])
        return
    total = ["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:-1])] if rows else []
    priced = f"{sum(cost for cost in costs if cost is not None):,.4f}" if any(costs) else None
    shown = [
        [*row[:-1], None if row[-1] is None else f"{row[-1]:,.4f}", one.priced_on]
        for row, one in zip(rows, found, strict=True)
    ]
    header = (
        "model",
        "calls",
        "in ledger",
        "to send",
        "input tokens, about",
        "output tokens, most",
        "USD, most",
        "price of",
    )
    typer.echo(table(header, [*shown, [*total, priced, None]] if rows else []))
    if None in costs:
        typer.echo("\nModels without a price are not in the sum: set price = { input = …, output = … } to see theirs.")


def _line(outcome: Any) -> str:
    manifest = outcome.status.manifest
    if not outcome.ran or manifest is None:
        return f"{outcome.name:<9} {outcome.status.state} already"
    rows = manifest.accounting
    plural = "" if rows.rows_in == 1 else "s"
    parts = [f"{rows.rows_in:,} {rows.unit}{plural} in", f"{rows.kept:,} kept"]
    parts += [f"{count:,} {what}" for what in ("dropped", "failed", "waiting") if (count := getattr(rows, what))]
    return f"{outcome.name:<9} {', '.join(parts)} ({outcome.seconds:.1f} s)"


def _entry(outcome: Any) -> dict[str, Any]:
    manifest = outcome.status.manifest
    accounting = {} if manifest is None else manifest.accounting
    return {
        "stage": outcome.name,
        "ran": outcome.ran,
        "state": outcome.status.state,
        "seconds": round(outcome.seconds, 3),
        "accounting": {name: getattr(accounting, name) for name in getattr(accounting, "__struct_fields__", ())},
    }
