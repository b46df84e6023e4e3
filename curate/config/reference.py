"""The configuration reference, made from the typed configuration: `python -m curate.config.reference`."""

from pathlib import Path
from typing import Any, Union, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from curate.config import annotating, calls, lora, model, sources, table

PAGE = Path("docs/configuration.md")

TABLES: list[tuple[str, type[BaseModel]]] = [
    ("[pipelines.NAME]", model.PipelineConfig),
    ("[[pipelines.NAME.sources]]", sources.SourceConfig),
    ("[pipelines.NAME.filter]", model.FilterConfig),
    ("[pipelines.NAME.filter.thresholds], each rule", table.Bounds),
    ("[pipelines.NAME.generate]", model.GenerateConfig),
    ("[[pipelines.NAME.generate.models]]", model.ModelConfig),
    ("[pipelines.NAME.dedup]", model.DedupConfig),
    ("[pipelines.NAME.annotate]", annotating.AnnotateConfig),
    ("[[pipelines.NAME.annotate.annotators]]", annotating.AnnotatorConfig),
    ("overlap = { … } of people", annotating.PeopleOverlap),
    ("gold = { … } of people", annotating.GoldConfig),
    ("[[pipelines.NAME.annotate.routes]]", annotating.RouteConfig),
    ("[pipelines.NAME.annotate.overlap]", annotating.OverlapConfig),
    ("[pipelines.NAME.annotate.critique]", annotating.CritiqueConfig),
    ("[pipelines.NAME.annotate.judge]", annotating.JudgeConfig),
    ("[pipelines.NAME.annotate.label_studio]", annotating.LabelStudioConfig),
    ("sampling = { … }", calls.SamplingConfig),
    ("price = { … }", calls.Price),
    ("[pipelines.NAME.release]", model.ReleaseConfig),
    ("[pipelines.NAME.train]", model.TrainConfig),
    ("lora = { … } of train", lora.LoraConfig),
    ("[pipelines.NAME.evaluate]", model.EvaluateConfig),
]

HEAD = """# Configuration

`pipelines.toml` holds named pipelines. Paths are relative to the file. An unknown key is an error that names the
nearest known one. Secrets never stand in the file: `api_key_env` and `token_env` name environment variables.

This page is made from the code by `python -m curate.config.reference`; a test keeps it equal.
"""


def page() -> str:
    """The reference page as Markdown."""
    return "\n".join([HEAD, *(_section(title, table) for title, table in TABLES)])


def _section(title: str, table: type[BaseModel]) -> str:
    doc = " ".join((table.__doc__ or "").split())
    rows = [f"## `{title}`", "", doc, "", "| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in table.model_fields.items():
        meaning = " ".join((field.description or "").split())
        rows.append(f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {meaning} |")
    return "\n".join([*rows, ""])


def _type(annotation: Any) -> str:
    arguments = [one for one in get_args(annotation) if one is not type(None) and one is not Ellipsis]
    if arguments and all(isinstance(one, str) for one in arguments):
        return ", ".join(f"`{one}`" for one in arguments)
    origin = getattr(annotation, "__origin__", None)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"table of {_type(arguments[1])}"
    if arguments and origin in {None, Union}:
        return ", ".join(_type(one) for one in arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    if hasattr(annotation, "__metadata__"):
        return _type(arguments[0])
    names = {"str": "text", "float": "number", "int": "integer", "bool": "true or false", "Decimal": "number"}
    return names.get(getattr(annotation, "__name__", ""), "text")


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "needed"
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "see its table"
    if isinstance(value, dict):
        return "<br>".join(f"`{name}` {_bounds(bounds)}" for name, bounds in value.items()) or "empty"
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value) or "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _bounds(bounds: Any) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in bounds.model_dump(exclude_none=True).items())


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
