"""The rows that lead so far, and which of them may be near to a block of rows: by torch on any devices, or by FAISS.

Both find every kept row whose product with a row reaches the floor, and a little more: float32, or half precision on
CUDA, is only a filter; what decides is `cosines`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from curate.neighbors.cosine import Matrix, Numbers
from schemas.errors import MissingExtraError, StageError

BANDS = {"float32": 5e-5, "float16": 2e-3}
"""How much a product of two rows of length 1 may be off: by 384 sums in float32, by elements in half precision."""

COLUMNS = {"cpu": 8192, "cuda": 131_072}
"""Kept rows that a block is multiplied with at once: on a CPU the products stay in its cache."""

FIRST_NEIGHBOURS = 4
MOST_NEIGHBOURS = 2048
"""FAISS on a GPU takes no more."""


class Kept(Protocol):
    """Kept rows, numbered in the order in which they were added."""

    def add(self, rows: Matrix) -> None:
        """Keep more rows."""
        ...

    def near(self, rows: Matrix, floor: float) -> tuple[Numbers, Numbers]:
        """Pairs (row, number of a kept row) whose product may reach `floor`; none that reaches it is left out."""
        ...


class TorchKept:
    """Kept rows on one device or spread over several; where a device's memory ends, smaller parts are multiplied."""

    def __init__(self, dimensions: int, devices: Sequence[str] = ("cpu",), precision: str = "float32") -> None:
        import torch

        self._dtype, self._band = getattr(torch, precision), BANDS[precision]
        self._shares = [_Share(dimensions, device, self._dtype) for device in devices]
        self._added = 0

    def add(self, rows: Matrix) -> None:
        """Keep more rows, on the device that has the fewest."""
        share = min(self._shares, key=lambda one: one.count)
        share.add(rows, self._added)
        self._added += len(rows)

    def near(self, rows: Matrix, floor: float) -> tuple[Numbers, Numbers]:
        """Pairs whose product may reach `floor`."""
        found = [share.near(rows, floor - self._band) for share in self._shares if share.count]
        nothing = np.empty(0, dtype=np.int64)
        return (
            np.concatenate([one for one, _ in found] or [nothing]),
            np.concatenate([number for _, number in found] or [nothing]),
        )


class _Share:
    """The kept rows of one device."""

    def __init__(self, dimensions: int, device: str, dtype: Any) -> None:
        import torch

        self.count = 0
        self._device, self._dtype = device, dtype
        self._columns = COLUMNS[device.partition(":")[0]]
        self._rows = torch.empty((4096, dimensions), dtype=dtype, device=device)
        self._numbers: Numbers = np.empty(len(self._rows), dtype=np.int64)

    def add(self, rows: Matrix, first_number: int) -> None:
        import torch

        needed = self.count + len(rows)
        if needed > len(self._rows):
            larger = torch.empty((2 * needed, self._rows.shape[1]), dtype=self._dtype, device=self._device)
            larger[: self.count] = self._rows[: self.count]
            self._rows = larger
            self._numbers = np.concatenate([self._numbers[: self.count], np.empty(len(larger), dtype=np.int64)])
        self._rows[self.count : needed] = torch.from_numpy(rows).to(self._device, self._dtype)
        self._numbers[self.count : needed] = first_number + np.arange(len(rows))
        self.count = needed

    def near(self, rows: Matrix, floor: float) -> tuple[Numbers, Numbers]:
        import torch

        block = torch.from_numpy(rows).to(self._device, self._dtype)
        found_rows: list[Numbers] = [np.empty(0, dtype=np.int64)]
        found_numbers: list[Numbers] = [np.empty(0, dtype=np.int64)]
        start = 0
        while start < self.count:
            stop = min(self.count, start + self._columns)
            try:
                hit_rows, hit_columns = _reaching(block, self._rows[start:stop], floor)
            except torch.OutOfMemoryError:
                if self._columns <= 256:
                    raise
                self._columns //= 2
                torch.cuda.empty_cache()
                continue
            found_rows.append(hit_rows)
            found_numbers.append(self._numbers[start + hit_columns])
            start = stop
        return np.concatenate(found_rows), np.concatenate(found_numbers)


def _reaching(block: Any, kept: Any, floor: float) -> tuple[Numbers, Numbers]:
    """Rows and columns where block @ kept.T reaches the floor; only rows whose best does are looked at twice."""
    products = block @ kept.T
    hit = (products.amax(dim=1) >= floor).nonzero().flatten()
    rows, columns = (products[hit] >= floor).nonzero(as_tuple=True)
    return hit[rows].cpu().numpy(), columns.cpu().numpy()


class FaissKept:
    """Kept rows in a flat FAISS index, on the CPU or on one GPU.

    A GPU index has no search by range: the nearest few are asked for, then more for the rows whose last still reaches.
    """

    def __init__(self, dimensions: int, *, on_gpu: bool = False) -> None:
        faiss = find_faiss()
        self._index = faiss.IndexFlatIP(dimensions)
        if on_gpu:
            self._index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, self._index)

    def add(self, rows: Matrix) -> None:
        """Keep more rows."""
        self._index.add(np.ascontiguousarray(rows))

    def near(self, rows: Matrix, floor: float) -> tuple[Numbers, Numbers]:
        """Pairs whose product may reach `floor`."""
        floor -= BANDS["float32"]
        asked = np.arange(len(rows), dtype=np.int64)
        found_rows: list[Numbers] = [np.empty(0, dtype=np.int64)]
        found_numbers: list[Numbers] = [np.empty(0, dtype=np.int64)]
        wanted = FIRST_NEIGHBOURS
        while len(asked) and self._index.ntotal:
            count = min(wanted, self._index.ntotal)
            products, numbers = self._index.search(np.ascontiguousarray(rows[asked]), count)
            is_whole = (products[:, -1] < floor) | (count == self._index.ntotal)
            if count == MOST_NEIGHBOURS and not is_whole.all():
                raise StageError(
                    f"a row has more than {MOST_NEIGHBOURS:,} near kept rows, which FAISS does not give",
                    do='set backend = "torch" under dedup',
                )
            one, place = np.nonzero((products >= floor) & is_whole[:, None])
            found_rows.append(asked[one])
            found_numbers.append(numbers[one, place])
            asked = asked[~is_whole]
            wanted = min(4 * wanted, MOST_NEIGHBOURS)
        return np.concatenate(found_rows), np.concatenate(found_numbers)


class CellsKept:
    """Kept rows in cells of k-means (FAISS IVF): a row meets only those of the nearest cells. Not exact.

    For more rows than an exact join is worth: beyond about 10M. The stage tells the recall on a sample.
    """

    PROBED = 32

    def __init__(self, sample: Matrix, cells: int) -> None:
        faiss = find_faiss()
        dimensions = sample.shape[1]
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimensions), dimensions, cells, faiss.METRIC_INNER_PRODUCT)
        self._index.cp.seed = 1234
        self._index.train(np.ascontiguousarray(sample))
        self._index.nprobe = min(self.PROBED, cells)

    def add(self, rows: Matrix) -> None:
        """Keep more rows."""
        self._index.add(np.ascontiguousarray(rows))

    def near(self, rows: Matrix, floor: float) -> tuple[Numbers, Numbers]:
        """Pairs of the nearest cells whose product may reach `floor`."""
        if not self._index.ntotal:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        ends, _, numbers = self._index.range_search(np.ascontiguousarray(rows), floor - BANDS["float32"])
        return np.repeat(np.arange(len(rows), dtype=np.int64), np.diff(ends.astype(np.int64))), numbers


def find_faiss() -> Any:
    """The module faiss. Raises MissingExtraError without it, StageError where its two packages overwrite each other."""
    from importlib.metadata import Distribution

    # By their folders' names: to read what every installed package says of itself takes longer than a small dedup.
    folders = [folder for entry in sys.path for folder in Path(entry).glob("faiss*-info")]
    names = {(Distribution.at(folder).metadata["Name"] or "").lower().replace("_", "-") for folder in folders}
    both = sorted(name for name in names if name == "faiss-cpu" or name.startswith("faiss-gpu"))
    if len(both) > 1:
        raise StageError(
            f"{' and '.join(both)} are both installed: they share one folder, and the last one broke the other",
            do=f"uninstall {', '.join(both)}, then install one of them again",
        )
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("dedup", "FAISS", "embed") from error
    return faiss
