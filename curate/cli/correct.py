"""`curate correct`: a trained Aligner corrects the rows of a file."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.options import AsJson, key_in
from curate.cli.output import print_json

if TYPE_CHECKING:
    from curate.correcting.rows import Source
    from curate.correcting.work import Job


class Device(StrEnum):
    """Where the Aligner computes."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="JSON lines, JSON, CSV, Parquet; also .gz and .zst.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The corrected file, .jsonl or .parquet.")],
    aligner: Annotated[
        str, typer.Option(help="Folder of a trained Aligner, or http://host:port/v1 of a server that serves one.")
    ],
    question: Annotated[str, typer.Option(help="Column of the question.")] = "question",
    answer: Annotated[str, typer.Option(help="Column of the answer.")] = "answer",
    device: Annotated[Device, typer.Option(help="Where a folder's Aligner computes.")] = Device.AUTO,
    max_new_tokens: Annotated[int, typer.Option(min=2, help="Longest correction; a longer answer stays as it is.")] = (
        1024
    ),
    batch_tokens: Annotated[int, typer.Option(min=1, help="Padded tokens of one forward pass.")] = 8192,
    template: Annotated[
        str | None, typer.Option(help="What a server's Aligner reads: T1 to T5, or a file; a folder knows its own.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name under which a server serves the Aligner.")] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Send a server question and answer as turns of a chat, for its own template.")
    ] = False,
    api_key_env: Annotated[str | None, typer.Option(help="Variable that holds a server's key.")] = None,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests to a server at once.")] = 64,
    again: Annotated[bool, typer.Option("--again", help="Start anew, and replace OUT.")] = False,
    as_json: AsJson = False,
) -> None:
    """Correct the answers of a file. A run that was stopped goes on where it was when it is repeated."""
    from curate.correcting.rows import Source
    from curate.correcting.work import correct
    from curate.progress import Progress
    from schemas.errors import UsageError

    read = Source(source, question, answer)
    if aligner.startswith(("http://", "https://")):
        if template is None or model is None:
            raise UsageError("a server's Aligner needs --template and --model", do="such as --template T1 --model NAME")
        job = _served(read, out, aligner, template, model, api_key_env, in_flight, max_new_tokens, is_chat=chat)
    elif template is not None or model is not None or chat:
        raise UsageError("--template, --model and --chat are for a server: a folder knows its own", do="leave them out")
    else:
        job = _local(read, out, Path(aligner), device.value, max_new_tokens, batch_tokens)
    done = correct(job, Progress("correct", as_json=as_json), again=again)
    if as_json:
        print_json({"out": str(out), **done})
        return
    if not done["ran"]:
        typer.echo(f"nothing to do: {out} is corrected, and nothing has changed")
    typer.echo(f"{out}: {_line(done)}")


def _local(source: "Source", out: Path, folder: Path, device: str, max_new_tokens: int, batch_tokens: int) -> "Job":
    from curate.correcting import local
    from curate.correcting.work import Job
    from curate.training.folder import aligner_id
    from schemas.errors import MissingExtraError

    try:
        chosen = local.device_of(device)
        settings = {"aligner": aligner_id(folder), "device": chosen.type, "max_new_tokens": max_new_tokens}
    except ImportError as error:
        raise MissingExtraError("correcting", "torch and transformers", "train") from error
    return Job(source, out, settings, lambda: local.local_writer(folder, chosen, max_new_tokens, batch_tokens))


def _served(
    source: "Source",
    out: Path,
    url: str,
    template: str,
    model: str,
    key_env: str | None,
    in_flight: int,
    max_new_tokens: int,
    *,
    is_chat: bool,
) -> "Job":
    from curate.correcting import remote
    from curate.correcting.work import Job
    from curate.providers.endpoint import Endpoint
    from curate.training.templates import read_template

    read = read_template(template, Path.cwd())
    endpoint = Endpoint(key_in(key_env) or "none", url, max_in_flight=in_flight)
    protocol = "chat" if is_chat else "completions"
    settings = {"aligner": url, "model": model, "template": read.template_id, "max_new_tokens": max_new_tokens}
    server = remote.Server(endpoint, model, read, max_new_tokens, protocol)
    if is_chat:
        settings["protocol"] = protocol
    return Job(source, out, settings, lambda: remote.remote_writer(server))


def _line(done: dict[str, Any]) -> str:
    parts = [f"{done['rows']:,} rows", f"{done['changed']:,} changed", f"{done['unchanged']:,} unchanged"]
    parts += [f"{count:,} passed through ({note})" for note, count in done["passed_through"].items()]
    passes = f"; {done['passes']:,} forward passes" if done["passes"] else ""
    return f"{', '.join(parts)}{passes} ({done['seconds']:.1f} s)"
