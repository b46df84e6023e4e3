"""`curate serve`: the trained Aligner as an OpenAI-compatible endpoint in front of any model."""

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import typer

from curate.cli.options import AsJson, key_in
from curate.cli.output import print_json
from schemas.errors import MissingExtraError, UsageError


class WhenItFails(StrEnum):
    """What a client gets where the Aligner fails or is too slow."""

    OPEN = "open"
    CLOSED = "closed"


class Device(StrEnum):
    """Where the Aligners compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def command(
    aligner: Annotated[list[str], typer.Option(help="Folder of an Aligner; several work in this order.")],
    upstream: Annotated[str, typer.Option(help="Base URL of the model's OpenAI-compatible server, with its /v1.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8010,
    upstream_key_env: Annotated[
        str | None, typer.Option(help="Environment variable of the upstream's key, sent instead of the clients' keys.")
    ] = None,
    client_key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable of the key that clients must send; without it anybody may ask."),
    ] = None,
    instruction: Annotated[str, typer.Option(help="Shown to the Aligner before the question.")] = "",
    when_it_fails: Annotated[
        WhenItFails, typer.Option(help="open: the upstream's answer, marked; closed: status 503.")
    ] = WhenItFails.OPEN,
    upstream_timeout_s: Annotated[float, typer.Option(min=0.001, help="Longest wait for the upstream.")] = 600.0,
    aligner_timeout_s: Annotated[float, typer.Option(min=0.001, help="Longest wait for the Aligner.")] = 60.0,
    max_waiting: Annotated[int, typer.Option(min=1, help="Requests in the house; more get status 429.")] = 256,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Longest correction; at most half of what the Aligner can read.")
    ] = 1024,
    batch_rows: Annotated[int, typer.Option(min=1, help="Answers that are corrected at once, at most.")] = 16,
    max_body_mb: Annotated[int, typer.Option(min=1, help="Longest request; longer ones get status 413.")] = 5,
    device: Annotated[Device, typer.Option(help="Where the Aligners compute.")] = Device.AUTO,
    as_json: AsJson = False,
) -> None:
    """Serve an OpenAI-compatible endpoint whose answers are the upstream model's, corrected by the Aligner."""
    from curate.serving.settings import Settings

    address = urlsplit(upstream)
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise UsageError(f"--upstream {upstream} is no address", do="give one like http://127.0.0.1:8000/v1")
    settings = Settings(
        upstream=upstream,
        upstream_key=key_in(upstream_key_env),
        client_key=key_in(client_key_env),
        instruction=instruction,
        fails_open=when_it_fails is WhenItFails.OPEN,
        upstream_timeout_s=upstream_timeout_s,
        aligner_timeout_s=aligner_timeout_s,
        waiting_at_most=max_waiting,
        new_tokens_at_most=max_new_tokens,
        batch_rows=batch_rows,
        body_bytes_at_most=max_body_mb * 2**20,
    )
    try:
        import httpx2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("serving", "httpx2, starlette and uvicorn", "serve") from error
    try:
        from curate.serving.running import listen, load_all, serve
    except ImportError as error:
        raise MissingExtraError("serving", "torch and transformers", "train") from error
    aligners = load_all(aligner, device.value)
    listening = listen(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/v1"

    def say() -> None:
        if as_json:
            print_json({"url": url, "upstream": upstream, "templates": [one.template.name for one in aligners]})
        else:
            typer.echo(f"{url} corrects the answers of {upstream}; end it with Ctrl-C")

    serve(aligners, settings, listening, say)
