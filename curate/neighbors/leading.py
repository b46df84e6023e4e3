"""Greedy leaders in one total order: each follower's leader is kept and near, and no two leaders are near."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.neighbors.cosine import Cosines, Matrix, Numbers, check_unit_rows, cosines
from curate.neighbors.folding import Fold
from curate.neighbors.kept import BANDS, Kept

BLOCK_ROWS = 1024
ADDED_AT_ONCE = 65_536


@dataclass(frozen=True)
class Leaders:
    """Of each row the position of its leader (its own where it leads), and the nearest earlier leader that was near.

    similarity: cosine to `nearest`, NaN where none reaches the floor (nearest is then -1); a follower's is its leader.
    """

    leader: Numbers
    nearest: Numbers
    similarity: Cosines

    @classmethod
    def alone(cls, start: int, stop: int) -> "Leaders":
        """Rows that lead and are near to none."""
        rows = stop - start
        return cls(np.arange(start, stop, dtype=np.int64), np.full(rows, -1, dtype=np.int64), np.full(rows, np.nan))

    def __len__(self) -> int:
        return len(self.leader)

    @property
    def is_leader(self) -> NDArray[np.bool_]:
        """Whether each row leads."""
        leads: NDArray[np.bool_] = np.equal(self.leader, np.arange(len(self.leader)))
        return leads

    def first(self, rows: int) -> "Leaders":
        """The first rows, as views."""
        return Leaders(self.leader[:rows], self.nearest[:rows], self.similarity[:rows])

    def put(self, start: int, decided: "Leaders") -> None:
        """Take over what was decided of the rows from `start` on."""
        some = slice(start, start + len(decided))
        self.leader[some], self.nearest[some] = decided.leader, decided.nearest
        self.similarity[some] = decided.similarity


@dataclass(frozen=True)
class Join:
    """How near leaders are found. The result does not depend on `fold` and `block_rows`.

    floor: cosine from which the nearest leader is told, also where it is below the threshold.
    seeds: so many first rows lead whatever is near to them.
    """

    threshold: float
    floor: float
    fold: Fold | None = None
    seeds: int = 0
    block_rows: int = BLOCK_ROWS


def lead(
    vectors: Matrix,
    join: Join,
    kept: Kept,
    done: Leaders | None = None,
    tell: Callable[[Leaders], None] = lambda _: None,
) -> Leaders:
    """A row follows the nearest earlier leader at or above the threshold (of equally near ones the first), or leads.

    vectors: float32, shape (rows, dim), each of length 1, in the order in which rows may lead. kept: empty.
    done: what an earlier call had decided of the first rows. tell: is given all that is decided, after each block.
    Raises ShapeError. Exact where `kept` is: rows² / 2 × (dimensions of the fold) multiplications at most.
    """
    check_unit_rows(vectors)
    rows = len(vectors)
    folded = vectors if join.fold is None else join.fold(vectors)
    done = done if done is not None else Leaders.alone(0, join.seeds)
    found = Leaders.alone(0, rows)
    found.put(0, done)
    positions = np.empty(rows, dtype=np.int64)
    count = int(done.is_leader.sum())
    positions[:count] = np.flatnonzero(done.is_leader)
    for start in range(0, count, ADDED_AT_ONCE):
        kept.add(folded[positions[start : min(count, start + ADDED_AT_ONCE)]])
    for start in range(len(done), rows, join.block_rows):
        stop = min(rows, start + join.block_rows)
        found.put(start, _lead_block(vectors, folded, (start, stop), join, kept, positions[:count]))
        new = start + np.flatnonzero(found.leader[start:stop] == np.arange(start, stop))
        kept.add(folded[new])
        positions[count : count + len(new)] = new
        count += len(new)
        tell(found.first(stop))
    return found


def nearest_of(vectors: Matrix, others: Matrix, join: Join, kept: Kept) -> Leaders:
    """Of each row its nearest of `others`: `leader` is -1 where that is below the threshold."""
    check_unit_rows(vectors)
    both = np.concatenate([others, vectors])
    folded = both if join.fold is None else join.fold(both)
    positions = np.arange(len(others), dtype=np.int64)
    kept.add(folded[: len(others)])
    found = Leaders.alone(0, len(vectors))
    for start in range(len(others), len(both), join.block_rows):
        stop = min(len(both), start + join.block_rows)
        nearest, similarity = _best_kept(both, folded, (start, stop), join.floor, kept, positions)
        leader = np.where(similarity >= join.threshold, nearest, -1)
        found.put(start - len(others), Leaders(leader, nearest, similarity))
    return found


def _best_kept(
    vectors: Matrix, folded: Matrix, block: tuple[int, int], floor: float, kept: Kept, positions: Numbers
) -> tuple[Numbers, Cosines]:
    """Of each row of the block the nearest leader of the blocks before, and the cosine to it; -1 and NaN for none."""
    start, stop = block
    rows, numbers = kept.near(folded[start:stop], floor)
    return _nearest(rows, positions[numbers], cosines(vectors, start + rows, positions[numbers]), stop - start, floor)


def _nearest(rows: Numbers, others: Numbers, similarity: Cosines, count: int, floor: float) -> tuple[Numbers, Cosines]:
    """The best pair of each of `count` rows: the nearest, of equally near ones the first."""
    rows, others, similarity = _nearest_first(rows, others, similarity, floor)
    firsts = np.flatnonzero(np.diff(rows, prepend=-1))
    best, score = np.full(count, -1, dtype=np.int64), np.full(count, np.nan)
    best[rows[firsts]], score[rows[firsts]] = others[firsts], similarity[firsts]
    return best, score


def _nearest_first(
    rows: Numbers, others: Numbers, similarity: Cosines, floor: float
) -> tuple[Numbers, Numbers, Cosines]:
    """Pairs that reach the floor, row by row, the nearest first and of equally near ones the first in order."""
    is_near = similarity >= floor
    rows, others, similarity = rows[is_near], others[is_near], similarity[is_near]
    order = np.lexsort((others, -similarity, rows))
    return rows[order], others[order], similarity[order]


def _lead_block(
    vectors: Matrix, folded: Matrix, block: tuple[int, int], join: Join, kept: Kept, positions: Numbers
) -> Leaders:
    """Decide the rows of one block: against the leaders before it at once, then among themselves in order."""
    start, stop = block
    best, score = _best_kept(vectors, folded, block, join.floor, kept, positions)
    leader = np.where(score >= join.threshold, best, np.arange(start, stop))
    can_lead = np.flatnonzero(leader == np.arange(start, stop))
    rows, others = _inside(folded[start:stop], can_lead, join.floor)
    similarity = cosines(vectors, start + rows, start + others)
    rows, others, similarity = _nearest_first(rows, others, similarity, join.floor)
    leads = np.zeros(stop - start, dtype=bool)
    leads[can_lead] = True
    ends = np.append(np.flatnonzero(np.diff(rows, prepend=-1)), len(rows))
    for first, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        row = int(rows[first])
        for place in range(first, end):
            if leads[others[place]]:
                if not similarity[place] <= score[row]:  # also where score is NaN
                    best[row], score[row] = start + others[place], similarity[place]
                    leads[row] = leads[row] and score[row] < join.threshold
                    leader[row] = start + row if leads[row] else best[row]
                break
    return Leaders(leader, best, score)


def _inside(folded: Matrix, can_lead: Numbers, floor: float) -> tuple[Numbers, Numbers]:
    """Pairs of rows of one block that may be near, of which the second may lead and comes first in order."""
    rows, places = np.nonzero(folded @ folded[can_lead].T >= floor - BANDS["float32"])
    others = can_lead[places]
    is_earlier = others < rows
    return rows[is_earlier], others[is_earlier]
