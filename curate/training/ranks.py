"""Who this process is among those that train one model together."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")
LONGEST_WAIT = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `count` equal ones; the one of rank 0 writes and speaks."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Iterator[tuple[T, bool]]:
        """This process's items. All get equally many, as each must take part in each pass of a sharded model: where
        items run out it is one that another process has, and False, for it must not count.
        """
        for start in range(0, len(items), self.count):
            number = start + self.rank
            yield (items[number], True) if number < len(items) else (items[start], False)

    def total(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Each value summed over all processes, which all get the same sums."""
        if self.count == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(summed)
        return [float(value) for value in summed.tolist()]

    def of_first(self, tensor: torch.Tensor) -> torch.Tensor:
        """The first process's tensor in all of them."""
        if self.count > 1:
            dist.broadcast(tensor, 0)
        return tensor


ALONE = Ranks()


def joined(device: torch.device) -> Ranks:
    """Join the processes that torchrun started. The others may wait long while the first one writes a checkpoint."""
    is_cuda = device.type == "cuda"
    dist.init_process_group("nccl" if is_cuda else "gloo", timeout=LONGEST_WAIT, device_id=device if is_cuda else None)
    return Ranks(dist.get_rank(), dist.get_world_size())


def own_device(device: torch.device) -> torch.device:
    """The device of this process among those of its machine: on CUDA the GPU of its local rank."""
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device
