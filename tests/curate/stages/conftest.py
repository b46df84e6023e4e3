import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from tests.conftest import lines
from tests.llm_server import LLMServer, llm_server

Asking = Callable[..., Pipeline]


@pytest.fixture
def second() -> Iterator[LLMServer]:
    with llm_server() as running:
        yield running


@pytest.fixture
def third() -> Iterator[LLMServer]:
    with llm_server() as running:
        yield running


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    """Makes a pipeline whose prompts are imported and filtered, from `models` as `model` makes them.

    generate: more keys of that section; the rest are keys of the pipeline.
    """

    def make(
        *models: dict[str, Any], prompts: int = 200, generate: dict[str, Any] | None = None, **keys: Any
    ) -> Pipeline:
        return written(tmp_path, *models, prompts=prompts, generate=generate, **keys)

    return make


def model(name: str, server: LLMServer, provider: str = "openai", **keys: Any) -> dict[str, Any]:
    """The keys of one model on a server."""
    url = server.url + ("/v1" if provider == "openai" else "")
    return {"name": name, "provider": provider, "base_url": url, **keys}


def written(
    folder: Path, *models: dict[str, Any], prompts: int, generate: dict[str, Any] | None = None, **keys: Any
) -> Pipeline:
    """As `asking`, in any folder."""
    lines(folder / "prompts.jsonl", [{"text": f"What is {n} plus {n}, please?"} for n in range(prompts)])
    source = {"path": "prompts.jsonl", "field": "text", "license": "MIT"}
    parts = ["[pipelines.p]", *_lines(keys), "[[pipelines.p.sources]]", *_lines(source)]
    parts += ["[pipelines.p.generate]", *_lines(generate or {})]
    for one in models:
        parts += ["[[pipelines.p.generate.models]]", *_lines(one)]
    (folder / "pipelines.toml").write_text("\n".join(parts) + "\n", encoding="utf-8")
    pipeline = read_pipeline(folder / "pipelines.toml")
    run_stage(pipeline, "filter", lambda _: None, again=False)
    return pipeline


def _lines(table: dict[str, Any]) -> list[str]:
    return [f"{name} = {toml(value)}" for name, value in table.items()]


def toml(value: Any) -> str:
    """A value as TOML spells it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(_lines(value)) + " }"
    return json.dumps(value)
