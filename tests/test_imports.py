"""What loads when: help and status must not wait for heavy libraries."""

import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp", "anthropic", "dataframely", "datasets", "faiss", "httpx2", "numpy", "openai", "pandas", "polars",
    "pyarrow", "sentence_transformers", "starlette", "tokenizers", "torch", "transformers", "uvicorn",
}  # fmt: skip

PROBE = """
import sys
sys.argv = {argv!r}
from curate.cli import main
try:
    main()
except SystemExit:
    pass
print("LOADED", *sorted({{name.split(".")[0] for name in sys.modules}}))
"""


def loaded(*argv: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(argv=["curate", *argv])], capture_output=True, text=True, check=True
    )
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize(
    "argv", [["--help"], ["run", "--help"], ["correct", "--help"], ["release", "--help"], ["serve", "--help"]]
)
def test_help_loads_no_heavy_library(argv):
    assert not loaded(*argv) & HEAVY


def test_status_loads_no_heavy_library(tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"text": "How are you today?"}\n')
    config = tmp_path / "pipelines.toml"
    config.write_text('[pipelines.small]\n[[pipelines.small.sources]]\npath = "prompts.jsonl"\nfield = "text"\n')
    assert not loaded("status", "--config", str(config)) & HEAVY


def test_training_loads_without_polars_and_pydantic():
    code = (
        "import sys; sys.modules['polars'] = sys.modules['pydantic'] = None\n"
        "import curate.training.loop, curate.training.models, curate.training.checkpoints, curate.training.speed, curate.training.writing, curate.training.settings, "
        "curate.training.templates"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
