"""Vectors with the spectrum of real embeddings, any number of them, a tenth near to another one.

Real texts are embedded, fewer for few rows; each vector is one of theirs moved along directions drawn from their own
covariance, so that neighbours and principal directions are as in real data. Usage: python vectors.py TARGET.npy ROWS
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from form.prompts import texts

TEXTS = 2500
ROWS_A_TEXT = 10
LONGEST = 400
NEAR_SHARE = 0.1


def embedded(count: int) -> NDArray[np.float32]:
    """Embeddings of real prompts, cut to `LONGEST` characters, evenly chosen."""
    from curate.embed.embedder import Embedder, EmbedSettings

    known = sorted({text[:LONGEST] for text in texts()})
    chosen = known[:: max(1, len(known) // count)][:count]
    return Embedder(EmbedSettings("sentence-transformers/all-MiniLM-L6-v2"), "cpu").encode(chosen)


def spread(real: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """`rows` unit vectors around the real ones."""
    random = np.random.default_rng(5)
    values, directions = np.linalg.eigh(np.cov(real.T.astype(np.float64)))
    scales = np.sqrt(np.maximum(values, 0))
    made = np.empty((rows, real.shape[1]), dtype=np.float32)
    for start in range(0, rows, 10_000):
        stop = min(rows, start + 10_000)
        noise = random.normal(size=(stop - start, len(scales))) * scales @ directions.T
        moved = real[random.integers(0, len(real), stop - start)] + 0.7 * noise
        near = np.flatnonzero(random.random(stop - start) < NEAR_SHARE)
        if start:
            moved[near] = made[random.integers(0, start, len(near))] + 0.25 * noise[near]
        made[start:stop] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return made


if __name__ == "__main__":
    asked = int(sys.argv[2])
    np.save(Path(sys.argv[1]), spread(embedded(min(TEXTS, asked // ROWS_A_TEXT)), asked))
