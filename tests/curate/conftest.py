from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from tests.conftest import lines
from tests.llm_server import LLMServer
from tests.unit_aligner import trained


@pytest.fixture(scope="session")
def unit_aligner() -> tuple[Any, Any]:
    """Model and tokenizer that learned to put units right and to leave right answers alone."""
    return trained("cpu", 1.25, 16_000)


@pytest.fixture
def served(server: LLMServer, tmp_path: Path) -> Callable[..., Pipeline]:
    """Makes a pipeline of `prompts` prompts whose one model is the server; `keys` are more lines of the model."""

    def make(provider: str = "openai", prompts: int = 5, keys: str = "", generate: str = "", key: str = "") -> Pipeline:
        lines(tmp_path / "prompts.jsonl", [{"text": f"What is {n} plus {n}, please?"} for n in range(prompts)])
        base = server.url + ("/v1" if provider == "openai" else "")
        (tmp_path / "pipelines.toml").write_text(
            f"""
            [[pipelines.p.sources]]
            path = "prompts.jsonl"
            field = "text"
            license = "MIT"
            [pipelines.p.generate]
            {generate}
            [[pipelines.p.generate.models]]
            name = "served"
            provider = "{provider}"
            base_url = "{base}"
            {keys}
            """
        )
        return read_pipeline(tmp_path / "pipelines.toml")

    return make
