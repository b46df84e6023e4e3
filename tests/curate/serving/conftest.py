"""Aligners that were really trained, and the endpoint on a real socket before the test's model server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from curate.config.model import Pipeline
from curate.store.run import RunStore
from curate.training import aligner
from curate.training.aligner import Aligner
from tests.curate.serving.running import Serving, serving
from tests.curate.serving.taught import teach
from tests.llm_server import LLMServer


@pytest.fixture(scope="session")
def taught_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Aligner's folder; it knows how to correct what the model server says to `taught.question(number)`."""
    folder = tmp_path_factory.mktemp("taught")
    teach(folder)
    return folder


@pytest.fixture(scope="session")
def taught(taught_folder: Path) -> Aligner:
    return aligner.load(str(taught_folder), torch.device("cpu"))


@pytest.fixture(scope="session")
def endless(finished: Pipeline) -> Aligner:
    """The Aligner of the small pipeline: after one epoch on 20 rows it never comes to an end."""
    return aligner.load(str(RunStore(finished.workdir).file("train", "aligner")), torch.device("cpu"))


@pytest.fixture
def serve(server: LLMServer) -> Iterator[Callable[..., Serving]]:
    """Starts the endpoint before `server` with Aligners and settings; all end with the test."""
    torch.set_num_threads(1)
    with ExitStack() as stack:
        yield lambda *aligners, **settings: stack.enter_context(
            serving(aligners, **{"upstream": f"{server.url}/v1", **settings})
        )
