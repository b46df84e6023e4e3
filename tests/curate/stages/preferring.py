"""Pipelines whose sources hold preferences, and what their stages published."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from curate.pipeline import Outcome, run_stage
from curate.store.run import RunStore
from tests.conftest import lines

Source = dict[str, Any]
"""The keys of one source; `rows` are written to its path."""


def preferring(folder: Path, *sources: Source, more: str = "") -> Pipeline:
    """A pipeline with these sources; more: further lines of the configuration."""
    text = "[pipelines.p]\n"
    for source in sources:
        if "rows" in source:
            lines(folder / source["path"], source["rows"])
        keys = {"license": "MIT", **{name: value for name, value in source.items() if name != "rows"}}
        text += "[[pipelines.p.sources]]\n" + "".join(f"{name} = {json.dumps(keys[name])}\n" for name in keys)
    (folder / "pipelines.toml").write_text(text + more, encoding="utf-8")
    return read_pipeline(folder / "pipelines.toml")


def trained(path: str, *rows: tuple[str, str, str], **keys: Any) -> Source:
    """A source in the trainers' form: prompt, rejected, chosen of each row."""
    columns = [dict(zip(("prompt", "rejected", "chosen"), row, strict=True)) for row in rows]
    return {"path": path, "shape": "preference", "preferences": True, **keys, "rows": columns}


def ran(pipeline: Pipeline, *stages: str) -> list[bool]:
    """Whether each stage had anything to do."""
    outcomes: list[Outcome] = []
    for stage in stages:
        run_stage(pipeline, stage, outcomes.append, again=False)
    return [outcome.ran for outcome in outcomes]


def table(pipeline: Pipeline, stage: str, name: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Some columns of a published table."""
    return RunStore(pipeline.workdir).table(stage, name).select(columns).collect().rows()
