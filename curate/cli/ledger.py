"""`curate ledger`: what was sent, what came back, what it cost, what may have been paid without a reply."""

import typer

from curate.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName
from curate.cli.output import print_json, table


def command(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show calls, tokens and money by stage and model, over all runs of the working directory."""
    from curate.config.reading import read_pipeline
    from curate.ledger import sent_by_model
    from curate.report import calls

    workdir = read_pipeline(config, pipeline).workdir
    sent = sent_by_model(workdir / "ledger.sqlite")
    received = calls(workdir)
    if as_json:
        print_json({"received": received, "sent": sent})
        return
    if not received and not sent:
        typer.echo("nothing was asked yet: curate run --stage generate")
        return
    columns = ("stage", "model", "calls", "input_tokens", "output_tokens", "cost_usd")
    typer.echo("Replies kept\n" + table(columns, ([one[name] for name in columns] for one in received)))
    if sent:
        columns = ("stage", "model", "sent", "replies", "failed", "possibly_paid")
        typer.echo("\nSent to servers\n" + table(columns, ([one[name] for name in columns] for one in sent)))
    if lost := sum(one["possibly_paid"] for one in sent):
        typer.echo(
            f"\n{lost:,} requests were sent and have no reply: a run was killed, or is at it; they are sent again"
        )
