"""Vectors of questions and answers, and who leads whom: the part of dedup that takes long and outlives a crash."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from curate.config.model import DedupConfig, Pipeline
from curate.embed.embedder import Embedder, EmbedSettings, chosen_device
from curate.embed.vectors import Vectors
from curate.identity import content_id
from curate.progress import Progress
from curate.store.atomic import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from curate.neighbors.kept import Kept
    from curate.neighbors.leading import Join, Leaders

CELL_SAMPLE = 262_144
ROWS_PER_CELL = 39
"""FAISS warns of cells that are trained on fewer rows."""


@dataclass(frozen=True)
class Space:
    """One embedding model in one run directory, made by `open_space`. saved: where a join keeps what it has decided."""

    config: DedupConfig
    settings: EmbedSettings
    vectors: Vectors
    progress: Progress
    saved: Path
    blocks_between_saves: int = 64

    def embed(self, what: str, texts: list[str]) -> "NDArray[np.float32]":
        """Rows of length 1, float32, shape (texts, dimensions)."""

        def tell(done: int, missing: int) -> None:
            self.progress.update(f"embedding {what}: {done:,} of {missing:,} that are new, {len(texts):,} in all")

        return self.vectors.of(texts, tell)

    def nearest(self, texts: list[str], others: list[str], threshold: float) -> "Leaders":
        """Of each text the nearest of the others; `leader` is -1 where none is at or above the threshold."""
        from curate.neighbors.leading import nearest_of

        theirs, ours = self.embed("evaluation questions", others), self.embed("questions", texts)
        join, kept = self._join(theirs, len(others), threshold, threshold)
        return nearest_of(ours, theirs, join, kept)

    def lead(self, vectors: "NDArray[np.float32]", threshold: float, floor: float, seeds: int, key: str) -> "Leaders":
        """Leaders among the rows, of which the first `seeds` lead in any case; goes on where a killed run was.

        key: of all that decides the result. What is decided is saved now and then, until `forget`.
        """
        from curate.neighbors.leading import lead

        join, kept = self._join(vectors, len(vectors), threshold, floor, seeds)
        key = content_id("leaders", key, len(vectors), threshold, floor, seeds)
        blocks = 0

        def tell(decided: "Leaders") -> None:
            nonlocal blocks
            blocks += 1
            self.progress.update(f"{len(decided):,} of {len(vectors):,} questions joined")
            if blocks % self.blocks_between_saves == 0:
                _save(self.saved, key, decided)

        return lead(vectors, join, kept, _load(self.saved, key), tell)

    def forget(self) -> None:
        """The result is published: what was saved of it is not needed any more."""
        self.saved.unlink(missing_ok=True)

    def _join(
        self, vectors: "NDArray[np.float32]", rows: int, threshold: float, floor: float, seeds: int = 0
    ) -> "tuple[Join, Kept]":
        """How vectors are joined, told on a line, and the empty index of kept rows."""
        from curate.neighbors.folding import fold_for
        from curate.neighbors.kept import CellsKept, FaissKept, TorchKept, find_faiss
        from curate.neighbors.leading import Join

        dim = vectors.shape[1]
        if rows > self.config.cells_beyond:
            sample = vectors[:: max(1, len(vectors) // CELL_SAMPLE)]
            cells = max(1, min(len(sample) // ROWS_PER_CELL, int(4 * len(vectors) ** 0.5)))
            self.progress.say(f"{rows:,} questions, more than cells_beyond: joined by FAISS in {cells:,} k-means cells")
            return Join(threshold, floor, None, seeds), CellsKept(sample, cells)
        device = chosen_device(self.config.device)
        if self.config.backend == "faiss":
            on_gpu = device == "cuda" and hasattr(find_faiss(), "StandardGpuResources")
            self.progress.say(f"joining {rows:,} questions by FAISS on {'a GPU' if on_gpu else 'the CPU'}")
            return Join(threshold, floor, None, seeds), FaissKept(dim, on_gpu=on_gpu)
        fold = fold_for(vectors, floor)
        width = dim if fold is None else fold.dimensions
        devices, precision, block_rows = _devices(device)
        self.progress.say(
            f"joining {rows:,} questions by torch on {', '.join(devices)}, by a bound in {width} of {dim} dimensions"
        )
        return Join(threshold, floor, fold, seeds, block_rows), TorchKept(width, devices, precision)


def settings_of(pipeline: Pipeline) -> EmbedSettings:
    """What vectors of a pipeline depend on; a directory is relative to the configuration file."""
    config = pipeline.config.dedup
    folder = pipeline.path(config.model)
    return EmbedSettings(str(folder) if folder.is_dir() else config.model, config.precision)


def open_vectors(pipeline: Pipeline, progress: Progress) -> Vectors:
    """The vectors of a pipeline's texts. The model is loaded only if a text is new."""
    config, settings = pipeline.config.dedup, settings_of(pipeline)

    def opened() -> Embedder:
        embedder = Embedder(settings, config.device, config.batch_tokens)
        sees = "torch sees it" if embedder.device == "cuda" else "torch sees no CUDA device"
        why = sees if config.device == "auto" else "as configured"
        progress.say(f"embedding by {settings.model} on {embedder.device} ({why}), {settings.precision}")
        return embedder

    return Vectors(pipeline.workdir / "vectors", settings, opened)


def open_space(pipeline: Pipeline, saved: Path, progress: Progress) -> Space:
    """The space of a pipeline's texts. saved: where a join keeps what it has decided."""
    vectors = open_vectors(pipeline, progress)
    return Space(pipeline.config.dedup, settings_of(pipeline), vectors, progress, saved)


def _devices(device: str) -> tuple[list[str], str, int]:
    """Where kept rows lie, in which precision they are compared, and rows of a block: GPUs want large products."""
    if device == "cpu":
        from curate.neighbors.leading import BLOCK_ROWS

        return ["cpu"], "float32", BLOCK_ROWS
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())], "float16", 4096


def _load(path: Path, key: str) -> "Leaders | None":
    import numpy as np

    from curate.neighbors.leading import Leaders

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            if str(saved["key"]) == key:
                return Leaders(saved["leader"], saved["nearest"], saved["similarity"])
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None  # nothing was saved, or nothing that can be read: it is decided anew
    return None


def _save(path: Path, key: str, decided: "Leaders") -> None:
    import numpy as np

    with replacing(path) as scratch, scratch.open("wb") as file:
        np.savez(file, key=key, leader=decided.leader, nearest=decided.nearest, similarity=decided.similarity)
