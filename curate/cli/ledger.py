"""`curate ledger`: what was sent, what came back, what it cost, what may have been paid without a reply."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName
from curate.cli.output import print_json, table

app = typer.Typer(
    help="Calls, tokens and money; exports and pruning.", invoke_without_command=True, add_completion=False
)

StageOption = Annotated[str | None, typer.Option("--stage", help="Only calls of this stage.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Only calls of this model, as the pipeline names it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Forget replies; without this it is only said how many.")]


@app.callback()
def show(
    context: typer.Context,
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show calls, tokens and money by stage and model, over all runs of the working directory."""
    if context.invoked_subcommand is not None:
        return
    from curate.ledger.accounts import batches, sent_by_model
    from curate.report import calls

    path = _path(config, pipeline)
    sent, received, handed_over = sent_by_model(path), calls(path.parent), batches(path)
    for one in sent:
        one["at_most_usd"] = one.pop("at_most_nano_usd") / 1e9
    if as_json:
        print_json({"received": received, "sent": sent, "batches": handed_over})
        return
    if not received and not sent:
        typer.echo("nothing was asked yet: curate run --stage generate")
        return
    at_work = sum(one["requests"] for one in handed_over if one["state"] in {"planned", "submitted"})
    columns = ("stage", "model", "calls", "input_tokens", "cached_tokens", "output_tokens", "cost_usd")
    typer.echo("Replies kept\n" + table(columns, ([one[name] for name in columns] for one in received)))
    if sent:
        sent_columns = (
            "stage",
            "model",
            "sent",
            "replies",
            "faults",
            "failed",
            "possibly_paid",
            "skipped",
            "latency_ms",
            "at_most_usd",
        )
        typer.echo("\nSent to servers\n" + table(sent_columns, ([one[name] for name in sent_columns] for one in sent)))
    if handed_over:
        columns = ("stage", "model", "remote_id", "requests", "state", "planned_at", "ended_at")
        typer.echo("\nBatches\n" + table(columns, ([one[name] for name in columns] for one in handed_over)))
    if at_work:
        typer.echo(f"\n{at_work:,} calls are at work in batches: the next run of their stage fetches them")
    if lost := sum(one["possibly_paid"] for one in sent):
        money = sum(one["at_most_usd"] for one in sent)
        typer.echo(
            f"\n{lost:,} requests were sent and have no reply: a run was killed, or is at it. They may have been paid"
            + (
                f" (with all calls of unknown cost at most {money:,.4f} USD, which budgets count as spent)"
                if money
                else ""
            )
            + ".\nThe next run sends them again; `curate ledger skip` makes them failure rows instead."
        )


@app.command()
def skip(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Never send again what may have been paid at a crash: such requests become failures of kind possibly_paid."""
    from curate.ledger.accounts import skip_lost

    with _alone(config, pipeline) as path:
        _done(skip_lost(path), "requests will not be sent again; `curate ledger resend` undoes it", as_json=as_json)


@app.command()
def resend(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Undo `skip`: the next run sends these requests again (`curate run --stage … --again` where it is done)."""
    from curate.ledger.accounts import resend_lost

    with _alone(config, pipeline) as path:
        what = "requests will be sent again: curate run --stage generate --again (or annotate)"
        _done(resend_lost(path), what, as_json=as_json)


@app.command()
def forget(
    batch: Annotated[str, typer.Argument(help="The batch's id at the provider, as `curate ledger` shows it.")],
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Wait no more for a batch that the provider has lost: its calls are sent again, and count as possibly paid."""
    from curate.ledger.accounts import forget_batch

    with _alone(config, pipeline) as path:
        _done(forget_batch(path, batch), "calls are not waited for any more; a run sends them again", as_json=as_json)


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help="File of JSON lines; - is stdout.")],
    stage: StageOption = None,
    model: ModelOption = None,
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Write every attempt with its times, tokens, cost, and the raw bodies of request and reply."""
    from curate.ledger.accounts import export as attempts
    from curate.store.atomic import replacing
    from schemas.errors import UsageError

    if to.is_dir():
        raise UsageError(f"{to} is a folder", do="name a file")
    rows = attempts(_there(config, pipeline), stage, model)
    if str(to) == "-":
        for row in rows:
            sys.stdout.write(json.dumps(row, ensure_ascii=True) + "\n")
        return
    count = 0
    with replacing(to) as scratch, scratch.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=True) + "\n")
            count += 1
    sys.stderr.write(f"{count:,} attempts are in {to}\n")


@app.command()
def prune(
    stage: StageOption = None,
    model: ModelOption = None,
    yes: Yes = False,
    pipeline: PipelineName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Forget raw bodies of attempts that brought no reply; with --stage and --model all replies of that model.

    What is pruned by model is paid again by a run that needs it. Counts and costs stay in the ledger.
    """
    from curate.ledger.accounts import compact, count_replies, prune_faults, prune_model
    from schemas.errors import UsageError

    if (stage is None) != (model is None):
        raise UsageError("prune takes --stage and --model together, or none of them", do="curate ledger shows both")
    with _alone(config, pipeline) as path:
        if stage is None or model is None:
            count = prune_faults(path)
            what = "raw bodies of failed attempts are forgotten"
        elif not yes:
            count = count_replies(path, stage, model)
            what = (
                f"replies of {model} in {stage} would be forgotten, and paid again by a run that needs them; add --yes"
            )
        else:
            count = prune_model(path, stage, model)
            what = f"replies of {model} in {stage} are forgotten"
        if stage is None or yes:
            compact(path)
        _done(count, what, as_json=as_json)


def _path(config: Path, pipeline: str | None) -> Path:
    from curate.config.reading import read_pipeline

    return read_pipeline(config, pipeline).workdir / "ledger.sqlite"


def _there(config: Path, pipeline: str | None) -> Path:
    """The ledger's file. Raises UsageError where there is none."""
    from schemas.errors import UsageError

    path = _path(config, pipeline)
    if not path.is_file():
        raise UsageError(f"there is no ledger at {path}", do="curate run --stage generate makes one")
    return path


@contextmanager
def _alone(config: Path, pipeline: str | None) -> Iterator[Path]:
    """The ledger's file, while no run writes into it. Raises LockedError, UsageError where there is no ledger."""
    from curate.store.lock import writer_lock

    path = _there(config, pipeline)
    with writer_lock(path.parent):
        yield path


def _done(count: int, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"count": count, "what": what})
    else:
        typer.echo(f"{count:,} {what}")
