"""`curate run`: one stage, or every stage that is not done."""

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from curate.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName
from curate.cli.output import print_json

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
        bool, typer.Option("--again", help="Run the stage although it is done: failed calls are asked once more.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the pipeline: one stage, or every stage that is not done. Exit code 3: people must act first."""
    from curate.config.reading import read_pipeline
    from curate.pipeline import Outcome, run_all, run_stage
    from schemas.errors import UsageError

    if again and stage is None:
        raise UsageError("--again needs --stage: running all stages again is never meant", do="name one stage")
    chosen = read_pipeline(config, pipeline)
    outcomes: list[Outcome] = []

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if not as_json:
            typer.echo(_line(outcome))

    is_through = run_all(chosen, done) if stage is None else run_stage(chosen, stage.value, done, again=again)
    if as_json:
        print_json({"pipeline": chosen.name, "stages": [_entry(outcome) for outcome in outcomes]})
    elif not any(outcome.ran for outcome in outcomes):
        stages = f"all {len(outcomes)} stages are" if stage is None else f"the stage {stage.value} is"
        typer.echo(f"nothing to do: {stages} done and nothing has changed")
    if not is_through:
        waiting = outcomes[-1].status.manifest
        count = waiting.accounting.waiting if waiting else 0
        sys.stderr.write(f"{count:,} rows of {outcomes[-1].name} wait for people; the run goes on when they are done\n")
        raise typer.Exit(WAITING)


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
