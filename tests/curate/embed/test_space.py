"""The join of questions: what a killed run had decided is taken up, and only for the same question."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curate.config.model import Pipeline, PipelineConfig
from curate.embed.space import Space, open_space
from curate.progress import Progress
from tests.curate.neighbors.test_leading import assert_same, by_plain_loop, clustered


class KilledError(Exception):
    """Ends a join in the middle."""


class Killing(Progress):
    """Kills the join when it tells of the third block."""

    told = 0

    def update(self, text: str) -> None:
        self.told += 1
        if self.told == 3:
            raise KilledError(text)


def space(folder: Path, progress: Progress | None = None, **config: object) -> Space:
    dedup = PipelineConfig.model_validate({"dedup": {"model": "a-model", **config}})
    pipeline = Pipeline(name="p", folder=folder, workdir=folder, config=dedup)
    opened = open_space(pipeline, folder / "leaders.npz", progress or Progress("dedup"))
    return replace(opened, blocks_between_saves=1)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(4000, 300)


def killed(folder: Path, vectors: np.ndarray) -> Path:
    with pytest.raises(KilledError):
        space(folder, Killing("dedup")).lead(vectors, 0.9, 0.85, 0, "key")
    return folder / "leaders.npz"


@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_a_killed_join_goes_on_and_ends_like_an_undisturbed_one(tmp_path, vectors, backend):
    killed(tmp_path, vectors)
    after = space(tmp_path, backend=backend).lead(vectors, 0.9, 0.85, 0, "key")
    assert_same(after, by_plain_loop(vectors, 0.9, 0.85))


def test_what_was_saved_for_something_else_is_not_taken(tmp_path, vectors):
    killed(tmp_path, vectors)
    assert_same(space(tmp_path).lead(vectors, 0.8, 0.8, 0, "key"), by_plain_loop(vectors, 0.8))


def test_a_saved_state_really_is_taken(tmp_path, vectors):
    path = killed(tmp_path, vectors)
    with np.load(path) as saved:
        changed = {name: saved[name] for name in saved.files}
    assert 0 < len(changed["leader"]) < len(vectors)
    changed["leader"][5] = 0
    np.savez(path, **changed)
    assert space(tmp_path).lead(vectors, 0.9, 0.85, 0, "key").leader[5] == 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no archive at all"])
def test_a_saved_state_that_cannot_be_read_counts_as_none(tmp_path, vectors, content):
    (tmp_path / "leaders.npz").write_bytes(content)
    assert_same(space(tmp_path).lead(vectors, 0.9, 0.85, 0, "key"), by_plain_loop(vectors, 0.9, 0.85))


def test_after_publication_nothing_is_left(tmp_path, vectors):
    path = killed(tmp_path, vectors)
    space(tmp_path).forget()
    assert not path.exists()
    space(tmp_path).forget()


def test_beyond_cells_beyond_cells_are_used_and_told(tmp_path, vectors, capsys):
    found = space(tmp_path, cells_beyond=100).lead(vectors, 0.9, 0.85, 0, "key")
    assert "k-means cells" in capsys.readouterr().err
    exact = by_plain_loop(vectors, 0.9)
    assert (~found.is_leader).sum() >= 0.98 * (~exact.is_leader).sum()
