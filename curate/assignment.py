"""Who gets which row: weighted rendezvous hashing, so adding a row moves no other and adding a name only its share."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curate.identity import content_id


def assign(
    row_ids: Sequence[str], names: Sequence[str], weights: Sequence[float], count: int, seed: int
) -> NDArray[np.int64]:
    """The `count` names of each row, best first, as positions in `names`; shape (rows, count).

    row_ids: hexadecimal content ids. Each row scores each name by -weight / log(u), u uniform from (row, name, seed).
    """
    scores = np.empty((len(row_ids), len(names)), dtype=np.float64)
    for column, (name, weight) in enumerate(zip(names, weights, strict=True)):
        drawn = uniforms(row_ids, f"assignment {name}", seed)
        scores[:, column] = -weight / np.log(np.clip(drawn, 2.0**-54, 1.0 - 2.0**-53))
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def uniforms(row_ids: Sequence[str], purpose: str, seed: int) -> NDArray[np.float64]:
    """One number in 0..1 (1 excluded) for each row, from its id, the purpose and the seed alone.

    row_ids: hexadecimal content ids, of which the first 16 digits count.
    """
    rows = np.array([int(row_id[:16], 16) for row_id in row_ids], dtype=np.uint64)
    salt = np.uint64(int(content_id("draw", purpose, seed)[:16], 16))
    return (_mixed(rows ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser (Steele, Lea and Flood 2014): every bit of the input moves every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
