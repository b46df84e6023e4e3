"""Fixtures of all tests: a small pipeline on recorded data, and ways to read what it published."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from annotators.label_studio.accounts import Account, add_user
from annotators.label_studio.database import Database
from annotators.label_studio.local import Server, running
from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from curate.identity import file_hash
from curate.pipeline import run_all
from tests.label_studio import label_studio_server
from tests.llm_server import LLMServer, llm_server
from tests.postgresql import cluster
from tests.small import write_small_pipeline

if TYPE_CHECKING:
    import anthropic
    import openai

ROOT = Path(__file__).parent.parent
REAL_DATA = ROOT.parent / "shared" / "data"


def needs_real_data() -> None:
    """Skip, and say so, where the real prompts, answers and corrections do not lie beside the checkout."""
    if not (REAL_DATA / "README.md").is_file():
        pytest.skip(f"NOT TESTED ON REAL DATA: there is none at {REAL_DATA}")


@pytest.fixture
def server() -> Iterator[LLMServer]:
    """A model server that answers by a rule and fails as it is told."""
    with llm_server() as one:
        yield one


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One Label Studio for all tests: each makes projects of its own. `label_studio.url`, `label_studio.account.token`."""
    with label_studio_server(tmp_path_factory.mktemp("label-studio")) as one:
        yield one


@pytest.fixture(scope="session")
def second_annotator(label_studio: Server) -> Account:
    """A user of that Label Studio who is not its administrator."""
    return add_user(label_studio.url, label_studio.account.token, "second@example.com", "second-password")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Database]:
    """A PostgreSQL database with the tables of Label Studio, for all tests."""
    with cluster() as database:
        yield database


@pytest.fixture(scope="session")
def label_studio_on_postgresql(postgresql: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One Label Studio on PostgreSQL for all tests that need more than one annotator at once."""
    with running(tmp_path_factory.mktemp("label-studio-on-postgresql"), database=postgresql) as server:
        yield server


@pytest.fixture
def openai_client(server: LLMServer) -> "Iterator[openai.OpenAI]":
    """The vendor's own SDK on the server."""
    import openai

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="key", max_retries=0, timeout=5) as client:
        yield client


@pytest.fixture
def anthropic_client(server: LLMServer) -> "Iterator[anthropic.Anthropic]":
    """The vendor's own SDK on the server."""
    import anthropic

    with anthropic.Anthropic(base_url=server.url, api_key="key", max_retries=0, timeout=5) as client:
        yield client


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The configuration file of a pipeline with 24 prompts, two recorded models and one recorded annotator."""
    return write_small_pipeline(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The small pipeline, run to its end once for all tests that only read."""
    pipeline = read_pipeline(write_small_pipeline(tmp_path_factory.mktemp("finished")))
    assert run_all(pipeline, lambda _: None)
    return pipeline


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples and the preset, in which the demo was run to its end."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copy(ROOT / "pipelines.toml", folder)
    assert run_all(read_pipeline(folder / "examples" / "demo" / "pipelines.toml"), lambda _: None)
    return folder


def published_hashes(workdir: Path) -> dict[str, str]:
    """SHA-256 of every published file: tables, models, manifests and releases; no lock, ledger, journal or log of steps."""
    loose = {
        "ledger.sqlite",
        "ledger.sqlite-wal",
        "ledger.sqlite-shm",
        "journal.jsonl",
        "steps.jsonl",
        "processes.log",
        ".lock",
        ".labels.lock",
    }
    return {
        path.relative_to(workdir).as_posix(): file_hash(path)
        for path in sorted(workdir.rglob("*"))
        if path.is_file() and path.name not in loose
    }


def lines(path: Path, rows: list[object]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
