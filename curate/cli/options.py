"""Options that several commands share, and what is read by them."""

import os
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import UsageError

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file.", envvar="CURATE_CONFIG", show_default=True)
]
PipelineName = Annotated[
    str | None, typer.Option("--pipeline", "-p", help="Pipeline in the file; not needed where it holds one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

DEFAULT_CONFIG = Path("pipelines.toml")


def key_in(name: str | None) -> str | None:
    """The key in an environment variable; None where none is named.

    Raises UsageError where the variable holds none, or what cannot stand in a header.
    """
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise UsageError(f"the environment variable {name} holds no key", do=f"export {name}=…")
    return key
