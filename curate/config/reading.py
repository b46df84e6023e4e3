"""Reads `pipelines.toml` once; whatever is wrong is told with file, line, table and the nearest known key."""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from curate.config.model import FileConfig, Pipeline
from schemas.errors import ConfigError

Location = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*(?P<key>(?:"[^"]*"|'[^']*'|[A-Za-z0-9_.-]|\s*\.\s*)+?)\s*=""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")


def read_pipeline(file: Path, name: str | None = None) -> Pipeline:
    """The pipeline `name` of `file`, or its only one. Raises ConfigError."""
    pipelines = read_file(file).pipelines
    if not pipelines:
        raise ConfigError(f"{file}: no pipeline is defined", do="add a table [pipelines.NAME]")
    if name is None:
        if len(pipelines) > 1:
            raise ConfigError(
                f"{file} defines {len(pipelines)} pipelines: {', '.join(pipelines)}", do="choose one with --pipeline"
            )
        name = next(iter(pipelines))
    if name not in pipelines:
        raise ConfigError(f'{file}: no pipeline "{name}"{_nearest(name, list(pipelines))}', do="see --pipeline")
    folder = file.resolve().parent
    config = pipelines[name]
    return Pipeline(
        name=name, folder=folder, workdir=(folder / (config.workdir or f"runs/{name}")).resolve(), config=config
    )


def read_file(file: Path) -> FileConfig:
    """The whole typed file. Raises ConfigError with all faults, one a line."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: there is no such file", do="name one with --config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}", do="it must be a readable UTF-8 text file") from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}", do="repair that line") from error
    try:
        return FileConfig.model_validate(raw)
    except ValidationError as error:
        lines = key_lines(text)
        faults = [_fault(file, lines, tuple(fault["loc"]), fault) for fault in error.errors(include_url=False)]
        raise ConfigError("\n".join(faults), do="docs/configuration.md lists every key") from error


def key_lines(text: str) -> dict[Location, int]:
    """Line number (from 1) of each table header and key in a TOML text; array tables carry their index.

    A table without a header of its own stands where its first part does.
    """
    lines: dict[Location, int] = {}
    counts: dict[Location, int] = {}
    table: Location = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = ()
            parts = _parts(header["name"])
            for position, part in enumerate(parts):
                table = (*table, part)
                is_new = header[1] == "[[" and position == len(parts) - 1
                if is_new:
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = (*table, counts[table])
                lines.setdefault(table, number)
            lines[table] = number
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_parts(key["key"])), number)
    return lines


def _parts(dotted: str) -> list[str]:
    return [next(group for group in match.groups() if group is not None) for match in _PART.finditer(dotted)]


def _fault(file: Path, lines: dict[Location, int], location: Location, fault: Any) -> str:
    known = next((location[:n] for n in range(len(location), -1, -1) if location[:n] in lines), ())
    place = f"{file}:{lines[known]}" if known else f"{file}"
    if fault["type"] == "extra_forbidden":
        nearest = _nearest(str(location[-1]), _known_keys(location[:-1]))
        return f'{place}: {_table(location[:-1])}: unknown key "{location[-1]}"{nearest}'
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "model_type":
        return f"{place}: {_table(location)}: a table of keys is needed here, such as {{ … }}, not {fault['input']!r}"
    if fault["type"] == "missing":
        return f'{place}: {_table(location[:-1])}: the key "{location[-1]}" is missing'
    if str(location[-1]).endswith("_env"):
        return f"{place}: {_table(location)}: name an environment variable here, never a key or token itself"
    got = f" (it is {fault['input']!r})" if isinstance(fault["input"], str | int | float) else ""
    return f"{place}: {_table(location)}: {message}{got}"


def _table(location: Location) -> str:
    dotted = ""
    for part in location:
        dotted += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if dotted else part
    return f"[{dotted}]" if dotted else "the file"


def _nearest(name: str, known: list[str]) -> str:
    if near := difflib.get_close_matches(name, known, n=1, cutoff=0.5):
        return f'; did you mean "{near[0]}"?'
    return f"; known: {', '.join(sorted(known))}" if known else ""


def _known_keys(location: Location) -> list[str]:
    model: Any = FileConfig
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[str(part)].annotation
        else:
            model = get_args(model)[-1] if get_args(model) and get_args(model)[-1] is not Ellipsis else _first(model)
        model = _table_type(model)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _first(model: Any) -> Any:
    return get_args(model)[0] if get_args(model) else model


def _table_type(model: Any) -> Any:
    options = [option for option in get_args(model) if isinstance(option, type) and issubclass(option, BaseModel)]
    return options[0] if type(None) in get_args(model) and options else model
