"""A bound of the cosine in fewer dimensions: it may find too much, never too little.

u·v = low(u)·low(v) + rest(u)·rest(v) <= low(u)·low(v) + |rest(u)| |rest(v)| (Cauchy and Schwarz), where low is the
projection on some orthonormal directions: the inner product of vectors of k + 1 numbers instead of dim. Directions are
the principal ones of a sample, where real embeddings have most of their length.
"""

from dataclasses import dataclass

import numpy as np

from curate.neighbors.cosine import Matrix

SAMPLE_ROWS = 4096
TRIED_ROWS = 512
TRIED = (32, 48, 64, 96, 128, 192, 256)
RESCORING = 6_000.0
"""What one pair that is found in vain costs, in multiplications: gathering and summing it in float64."""

SLACK = 1e-6
"""Added below the root of a rest: its square is a difference of sums in float32."""


@dataclass(frozen=True)
class Fold:
    """`directions`: float32, shape (dim, k), orthonormal columns."""

    directions: Matrix

    @property
    def dimensions(self) -> int:
        """Numbers of a folded row."""
        return int(self.directions.shape[1]) + 1

    def __call__(self, vectors: Matrix) -> Matrix:
        """Folded rows: float32, shape (rows, k + 1)."""
        folded = np.empty((len(vectors), self.dimensions), dtype=np.float32)
        low = np.matmul(vectors, self.directions, out=folded[:, :-1])
        rest = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", low, low)
        folded[:, -1] = np.sqrt(np.maximum(rest, 0.0) + SLACK)
        return folded


def fold_for(vectors: Matrix, floor: float) -> Fold | None:
    """The fold that makes a join at cosine `floor` cheapest, judged by a sample; None where full rows are cheaper.

    Multiplications a pair: k + 1, and RESCORING for each pair of the sample whose bound reaches `floor`.
    """
    rows, dim = vectors.shape
    if rows < 2:
        return None
    sample = vectors[np.linspace(0, rows - 1, min(rows, SAMPLE_ROWS)).astype(np.int64)]
    squares = sample.astype(np.float64).T @ sample.astype(np.float64)
    directions = np.linalg.eigh(squares)[1][:, ::-1].astype(np.float32)
    one, other = sample[::2][:TRIED_ROWS], sample[1::2]
    least, chosen = float(dim), None
    for count in TRIED:
        if count + 1 >= least:
            break
        fold = Fold(np.ascontiguousarray(directions[:, :count]))
        in_vain = float((fold(one) @ fold(other).T >= floor).mean()) - float((one @ other.T >= floor).mean())
        if (cost := count + 1 + RESCORING * max(0.0, in_vain)) < least:
            least, chosen = cost, fold
    return chosen
