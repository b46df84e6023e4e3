"""The ids of all replies at one moment, 16 bytes each: whether a million calls are known is asked without the disk."""

import sqlite3

import numpy as np
from numpy.typing import NDArray

ROWS = 50_000


class Snapshot:
    """Ids that were in the ledger. One that is not in it may have come since; one that is in it, is there.

    The last 128 bits of an id count, of 256: no two calls share them.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        parts: list[NDArray[np.uint64]] = [np.empty((0, 2), dtype=np.uint64)]
        cursor = connection.execute("SELECT request_id FROM completions")
        while rows := cursor.fetchmany(ROWS):
            parts.append(_halves([row[0] for row in rows]))
        halves = np.concatenate(parts)
        order = np.argsort(halves[:, 0], kind="stable")
        self._first, self._second = halves[order, 0].copy(), halves[order, 1].copy()

    def known(self, request_ids: list[str]) -> set[str]:
        """Those of the ids that were there."""
        if not request_ids or not self._first.size:
            return set()
        asked = _halves(request_ids)
        places = np.minimum(np.searchsorted(self._first, asked[:, 0]), self._first.size - 1)
        is_known = (self._first[places] == asked[:, 0]) & (self._second[places] == asked[:, 1])
        return {request_ids[number] for number in np.flatnonzero(is_known).tolist()}


def _halves(request_ids: list[str]) -> NDArray[np.uint64]:
    """The last two 64-bit words of each id, shape (ids, 2)."""
    words = np.frombuffer(bytes.fromhex("".join(one[-32:] for one in request_ids)), dtype=">u8")
    return words.astype(np.uint64).reshape(-1, 2)
