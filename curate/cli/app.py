"""`curate` and its commands; the one place that catches every error."""

import importlib.metadata
import os
import sys
import traceback
from typing import Annotated

import typer

from curate.cli import correct, doctor, label, ledger, release, run, serve, show, status
from curate.cli.output import print_error
from schemas.errors import CurateError

TYPERS_CODE_FOR_CTRL_C = 130
"""Typer takes KeyboardInterrupt for itself."""
HELP = "From raw prompts to a released question-answer-correction data set and a trained Aligner."

app = typer.Typer(
    name="curate",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(importlib.metadata.version("aligner-curation"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command("run")(run.command)
app.command("status")(status.command)
app.command("show")(show.command)
app.add_typer(label.app, name="label")
app.add_typer(ledger.app, name="ledger")
app.add_typer(release.app, name="release")
app.command("correct")(correct.command)
app.command("serve")(serve.command)
app.command("doctor")(doctor.command)


def main() -> None:
    """Run the command line; every error ends in one message and an exit code: 1 failed, 2 wrong usage."""
    try:
        app()
    except CurateError as error:
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code != TYPERS_CODE_FOR_CTRL_C:
            raise
        sys.stderr.write("\nstopped; replies that came in are kept, and the same command goes on from here\n")
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        sys.stderr.write(f"error: the system says: {error.strerror or error}{where}\n")
        sys.stderr.write("  -> check free space and permissions; what was published is whole, run again\n")
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  the last line of defence: whatever it is, the user gets one message
        if os.environ.get("CURATE_TRACEBACK"):
            traceback.print_exc()
        sys.stderr.write(
            f"error: {type(error).__name__}: {error}\n"
            "  -> this is a bug: please report it with what `CURATE_TRACEBACK=1 curate …` prints\n"
        )
        sys.exit(1)
