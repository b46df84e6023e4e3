"""What needs a GPU: the same leaders from CUDA as from the CPU, and embeddings in each precision."""

import numpy as np
import pytest

from curate.embed.embedder import Embedder, EmbedSettings
from curate.neighbors.folding import fold_for
from curate.neighbors.kept import FaissKept, TorchKept, find_faiss
from curate.neighbors.leading import Join, lead
from tests.curate.neighbors.test_leading import assert_same, by_plain_loop, clustered

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = [f"Why is the sky blue on day {number}?{' And how do we know?' * (number % 9)}" for number in range(300)]


@pytest.fixture(autouse=True)
def gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("NOT TESTED ON A GPU: torch sees no CUDA device, so the join and embedding on CUDA were not proved")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("is_folded", [False, True])
def test_leaders_from_cuda_are_those_of_a_plain_loop(precision, is_folded):
    vectors = clustered(6000, 300)
    fold = fold_for(vectors, 0.85) if is_folded else None
    kept = TorchKept(48 if fold is None else fold.dimensions, ["cuda:0", "cuda:0"], precision)
    found = lead(vectors, Join(0.9, 0.85, fold, block_rows=2048), kept)
    assert_same(found, by_plain_loop(vectors, 0.9, 0.85))


@pytest.mark.gpu
def test_leaders_from_faiss_on_a_gpu_are_those_of_a_plain_loop():
    if not hasattr(find_faiss(), "StandardGpuResources"):
        pytest.skip("NOT TESTED ON A GPU: the installed faiss is that of the CPU")
    vectors = clustered(6000, 300)
    found = lead(vectors, Join(0.9, 0.85), FaissKept(48, on_gpu=True))
    assert_same(found, by_plain_loop(vectors, 0.9, 0.85))


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "off"), [("float32", 1e-4), ("float16", 5e-3), ("bfloat16", 3e-2)])
def test_embeddings_from_cuda_are_near_to_those_of_the_cpu(precision, off):
    on_cpu = Embedder(EmbedSettings(MODEL), "cpu", 8192).encode(TEXTS)
    on_gpu = Embedder(EmbedSettings(MODEL, precision), "cuda", 65_536).encode(TEXTS)
    assert 1.0 - np.einsum("ij,ij->i", on_cpu, on_gpu).min() < off
