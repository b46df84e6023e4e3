"""Joins of one file of unit vectors at a threshold: ours, the limit of the machine, and other tools'.

Prints {"cpu_s", "wall_s", "kept", "version"}: loading and imports are not counted. One thread.
Usage: python dedup_joins.py METHOD VECTORS.npy ROWS THRESHOLD
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

BLOCK = 2048
Joined = tuple[int, str]


def ours(vectors: np.ndarray, threshold: float) -> Callable[[], Joined]:
    import torch

    from curate.neighbors.folding import fold_for
    from curate.neighbors.kept import TorchKept
    from curate.neighbors.leading import Join, lead

    torch.set_num_threads(1)

    def join() -> Joined:
        fold = fold_for(vectors, threshold)
        width = vectors.shape[1] if fold is None else fold.dimensions
        found = lead(vectors, Join(threshold, threshold, fold), TorchKept(width))
        return int(found.is_leader.sum()), f"{width} dimensions"

    return join


def ours_faiss(vectors: np.ndarray, threshold: float) -> Callable[[], Joined]:
    import faiss

    from curate.neighbors.kept import FaissKept
    from curate.neighbors.leading import Join, lead

    faiss.omp_set_num_threads(1)
    return lambda: (
        int(lead(vectors, Join(threshold, threshold), FaissKept(vectors.shape[1])).is_leader.sum()),
        version("faiss-cpu"),
    )


def limit(vectors: np.ndarray, threshold: float) -> Callable[[], Joined]:
    """Half of all products of two rows, and nothing done with them."""
    del threshold
    import torch

    torch.set_num_threads(1)
    rows = torch.from_numpy(vectors)

    def join() -> Joined:
        for start in range(0, len(rows), BLOCK):
            for column in range(0, start + BLOCK, BLOCK):
                _ = rows[start : start + BLOCK] @ rows[column : column + BLOCK].T
        return 0, torch.__version__

    return join


def faiss_range(vectors: np.ndarray, threshold: float) -> Callable[[], Joined]:
    import faiss

    faiss.omp_set_num_threads(1)

    def join() -> Joined:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        ends, _, numbers = index.range_search(vectors, threshold)
        rows = np.repeat(np.arange(len(vectors)), np.diff(ends.astype(np.int64)))
        dropped = np.zeros(len(vectors), dtype=bool)
        for row, other in zip(rows.tolist(), numbers.tolist(), strict=True):
            if other < row and not dropped[other]:
                dropped[row] = True
        return int((~dropped).sum()), version("faiss-cpu")

    return join


def community(vectors: np.ndarray, threshold: float) -> Callable[[], Joined]:
    import torch
    from sentence_transformers.util import community_detection

    torch.set_num_threads(1)
    rows = torch.from_numpy(vectors)

    def join() -> Joined:
        found = community_detection(rows, threshold=threshold, min_community_size=1, show_progress_bar=False)
        return len(found), version("sentence-transformers")

    return join


def semhash(vectors: np.ndarray, threshold: float) -> Callable[[], Joined]:
    """Its own records and index, over the vectors that all others get."""
    from semhash import SemHash

    names = [str(number) for number in range(len(vectors))]

    class Given:
        def encode(self, inputs: list[str], **_: object) -> np.ndarray:
            return vectors[[int(name) for name in inputs]]

    def join() -> Joined:
        found = SemHash.from_records(records=names, model=Given()).self_deduplicate(threshold=threshold)
        return len(found.selected), version("semhash")

    return join


METHODS = {
    "ours": ours,
    "ours_faiss": ours_faiss,
    "limit": limit,
    "faiss_range": faiss_range,
    "community": community,
    "semhash": semhash,
}

if __name__ == "__main__":
    method, path, rows, at = sys.argv[1:]
    dim = np.load(Path(path), mmap_mode="r").shape[1]
    given = np.fromfile(path, np.float32, int(rows) * dim, offset=128).reshape(
        -1, dim
    )  # a mapped file counts as memory
    run = METHODS[method](given, float(at))
    cpu, wall = time.process_time(), time.perf_counter()
    kept, told = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "kept": kept, "version": told}))
