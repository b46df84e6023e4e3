"""`curate doctor`: what is installed, configured and reachable; what is missing and how to get it."""

import importlib.metadata
import importlib.util
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer

from curate.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, PipelineName
from curate.cli.output import print_json, table

if TYPE_CHECKING:
    from curate.config.calls import CallConfig
    from curate.config.model import Pipeline

CONNECT_TIMEOUT_S = 2.0

LIBRARIES = {
    "llm": ("openai", "anthropic", "aiohttp"),
    "embed": ("sentence-transformers", "torch"),
    "train": ("torch", "transformers", "tokenizers", "safetensors"),
    "lora": ("peft",),
    "tensorboard": ("tensorboardX",),
    "serve": ("httpx2", "starlette", "uvicorn"),
    "hub": ("datasets", "pandas"),
    "label-studio": ("label-studio-sdk",),
}


def command(pipeline: PipelineName = None, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check the installation and one pipeline's configuration; exit code 1 where something needed is missing."""
    findings = [*_packages(), *_extras(), *_faiss(), *_configuration(config, pipeline)]
    if as_json:
        print_json(findings)
    else:
        typer.echo(table(("check", "result", "to do"), ((one["check"], one["result"], one["do"]) for one in findings)))
    if any(one["is_needed"] for one in findings):
        raise typer.Exit(1)


def _finding(check: str, result: str, do: str = "", *, is_needed: bool = False) -> dict[str, Any]:
    return {"check": check, "result": result, "do": do, "is_needed": is_needed}


def _packages() -> list[dict[str, Any]]:
    """The three packages have generic names: another distribution's `schemas` would break this one."""
    names = ("curate", "annotators", "schemas")
    specs = {name: importlib.util.find_spec(name) for name in names}
    folders = {Path(spec.origin).parent.parent for spec in specs.values() if spec and spec.origin}
    python = _finding("python", sys.version.split()[0])
    if len(folders) > 1:
        do = "install into an environment of its own"
        return [python, _finding("packages", f"lie in {len(folders)} folders: {folders}", do, is_needed=True)]
    return [python, _finding("packages", "curate, annotators and schemas lie together")]


def _extras() -> list[dict[str, Any]]:
    findings = []
    for extra, libraries in LIBRARIES.items():
        versions = {library: _version(library) for library in libraries}
        missing = [library for library, version in versions.items() if version is None]
        result = ", ".join(f"{library} {version or 'missing'}" for library, version in versions.items())
        do = f"pip install 'aligner-curation[{extra}]'" if missing else ""
        findings.append(_finding(f"extra {extra}", result, do))
    return findings


def _faiss() -> list[dict[str, Any]]:
    """faiss-cpu and faiss-gpu share one folder: the last installed wins, and removing one breaks the other."""
    found = [name for name in ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12") if _version(name)]
    if len(found) > 1:
        do = f"pip uninstall {' '.join(found)}, then install one of them"
        return [_finding("faiss", f"{' and '.join(found)} overwrite each other", do, is_needed=True)]
    do = "" if found else "pip install 'aligner-curation[embed]' (or embed-gpu)"
    return [_finding("faiss", found[0] if found else "missing", do)]


def _configuration(config: Path, pipeline: str | None) -> list[dict[str, Any]]:
    from curate.config.reading import read_pipeline
    from curate.providers.making import api_key
    from curate.sources.files import matching
    from schemas.errors import CurateError

    try:
        chosen = read_pipeline(config, pipeline)
    except CurateError as error:
        return [_finding("configuration", error.what, error.do, is_needed=True)]
    findings = [_finding("configuration", f"{config}: pipeline {chosen.name}")]
    for source in chosen.config.sources:
        try:
            files = matching(chosen.folder, source.path)
        except CurateError as error:
            findings.append(_finding(f"source {source.path}", error.what, error.do, is_needed=True))
        else:
            findings.append(_finding(f"source {source.path}", f"{len(files)} files"))
    annotate = chosen.config.annotate
    recorded = [(one.name, one) for one in annotate.annotators if one.kind == "recorded"]
    models: list[tuple[str, CallConfig]] = [(one.name, one) for one in chosen.config.generate.models]
    models += [*annotate.called, *recorded]
    for name, one in models:
        try:
            if one.path is not None:
                matching(chosen.folder, one.path)
            elif one.provider is not None:
                api_key(name, one)
        except CurateError as error:
            findings.append(_finding(f"model {name}", error.what, error.do, is_needed=True))
    findings += _annotate(chosen)
    addresses = {one.base_url: name for name, one in reversed(models) if one.base_url}
    return findings + [_server(url, name) for url, name in reversed(addresses.items())]


def _annotate(pipeline: "Pipeline") -> list[dict[str, Any]]:
    """Principles, templates and gates that cannot be read, and where people work."""
    from curate.stages.annotate.people import server_of
    from curate.stages.annotate.recipes import PEOPLE, all_recipes
    from curate.stages.annotate.stage import gate_bounds
    from schemas.errors import CurateError

    findings, config = [], pipeline.config.annotate
    for check in (all_recipes, gate_bounds):
        try:
            check(pipeline)
        except CurateError as error:
            findings.append(_finding("annotate", error.what, error.do, is_needed=True))
    if not any(one.kind == PEOPLE for one in config.annotators):
        return findings
    if config.label_studio is None:
        do = f"add [pipelines.{pipeline.name}.annotate.label_studio]"
        return [*findings, _finding("people", "no Label Studio is named: their tasks stay here", do)]
    try:
        with server_of(pipeline) as server:
            user = server.check()
    except CurateError as error:
        return [*findings, _finding("people", error.what, error.do, is_needed=True)]
    return [*findings, _finding("people", f"{config.label_studio.url}: works as {user.get('email', 'somebody')}")]


def _server(url: str, name: str) -> dict[str, Any]:
    """Whether something listens there; no request is sent."""
    address = urlsplit(url)
    port = address.port or {"http": 80, "https": 443}.get(address.scheme, 0)
    try:
        socket.create_connection((address.hostname or "", port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        do = "start it, or correct base_url"
        return _finding(f"server of {name}", f"{url}: {error.strerror or error}", do, is_needed=True)
    return _finding(f"server of {name}", f"{url}: something listens")


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
