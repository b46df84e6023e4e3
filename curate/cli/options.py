"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file.", envvar="CURATE_CONFIG", show_default=True)
]
PipelineName = Annotated[
    str | None, typer.Option("--pipeline", "-p", help="Pipeline in the file; not needed where it holds one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

DEFAULT_CONFIG = Path("pipelines.toml")
