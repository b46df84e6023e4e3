"""Who follows whom among pairs that are known to be near: greedy, in one total order."""

import numpy as np
from numpy.typing import NDArray

from curate.neighbors.cosine import Numbers


def follow(rows: Numbers, earlier: Numbers, similarity: NDArray[np.float64], count: int) -> Numbers:
    """The twin of each of `count` rows, -1 where it stays: of the earlier rows near to it the nearest that stays.

    rows, earlier: pairs of positions in the order in which rows may stay, earlier < row. similarity: more is nearer; of
    equally near rows the first is the twin. A twin always stays, and of two rows that stay none is near to the other.
    """
    order = np.lexsort((earlier, -similarity, rows))
    rows, earlier = rows[order], earlier[order]
    twin = np.full(count, -1, dtype=np.int64)
    for row, other in zip(rows.tolist(), earlier.tolist(), strict=True):
        if twin[row] < 0 and twin[other] < 0:
            twin[row] = other
    return twin
