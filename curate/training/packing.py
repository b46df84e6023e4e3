"""Rows are packed whole into sequences of a token budget, and sequences grouped into the steps of each epoch."""

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from curate.training.settings import Settings
from curate.training.tokens import TokenRow

OPEN = 32
"""Sequences that wait for rows which still fit: enough for 97 % fill where rows take a fourth of the budget."""


@dataclass(frozen=True, slots=True)
class Pack:
    """One packed sequence on its device.

    ids, positions: int64 of shape (1, tokens); positions start anew with each row. bounds: int32, where each row
    starts, and the end. longest: tokens of the longest row. before: int64, the places whose next token is a target, row
    by row; targets: those tokens. The first token of a row is never a target: nothing of its row stands before it.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    longest: int
    before: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """The packed rows whose gradients make one optimiser step. is_last: the epoch ends with it."""

    packs: list[list[TokenRow]]
    epoch: int
    is_last: bool

    @property
    def tokens(self) -> int:
        """Tokens that the model reads, padding not counted: there is none."""
        return sum(len(row.ids) for pack in self.packs for row in pack)

    @property
    def target_tokens(self) -> int:
        """Tokens that carry loss."""
        return sum(row.target_tokens for pack in self.packs for row in pack)


def packed(rows: Sequence[TokenRow], tokens_per_batch: int) -> list[list[TokenRow]]:
    """Each row once, in sequences of at most `tokens_per_batch` tokens; a longer row has one of its own.

    First fit into at most OPEN sequences; when one more is needed, the fullest leaves.
    """
    full: list[list[TokenRow]] = []
    open_packs: list[list[TokenRow]] = []
    room: list[int] = []
    for row in rows:
        size = len(row.ids)
        place = next((number for number, left in enumerate(room) if size <= left), None)
        if place is None:
            if len(open_packs) == OPEN:
                fullest = room.index(min(room))
                full.append(open_packs.pop(fullest))
                room.pop(fullest)
            open_packs.append([])
            room.append(tokens_per_batch)
            place = len(room) - 1
        open_packs[place].append(row)
        room[place] -= size
    return full + open_packs


def spread(rows: Sequence[TokenRow], tokens_per_batch: int, processes: int) -> list[list[TokenRow]]:
    """Rows packed long ones first, where rows are enough in as many sequences as `processes` share evenly."""
    longest_first = sorted(rows, key=lambda row: -len(row.ids))
    packs = packed(longest_first, tokens_per_batch)
    most = max(tokens_per_batch, len(longest_first[0].ids))
    for count in range(math.ceil(len(packs) / processes) * processes, len(rows) + 1, processes):
        if count == len(packs):
            return packs
        even = _evenly(longest_first, count)
        if max(sum(len(row.ids) for row in pack) for pack in even) <= most:
            return even
    return packs


def _evenly(longest_first: Sequence[TokenRow], count: int) -> list[list[TokenRow]]:
    """So many sequences of about the same length: each row goes to the shortest one."""
    packs: list[list[TokenRow]] = [[] for _ in range(count)]
    sizes = [(0, number) for number in range(count)]
    for row in longest_first:
        size, number = sizes[0]
        packs[number].append(row)
        heapq.heapreplace(sizes, (size + len(row.ids), number))
    return packs


def steps_of(rows: Sequence[TokenRow], epochs: float, settings: Settings, phase: str, processes: int = 1) -> list[Step]:
    """All steps in order. The order of each epoch is drawn from seed, phase and epoch; no step crosses its end.

    With `rows_per_step` the rows of an epoch are cut into equal parts of at most that, each packed by itself; without
    it a step is so many packed sequences as make `tokens_per_step`. processes: how many share the sequences of a step.
    """
    steps: list[Step] = []
    for epoch in range(math.ceil(epochs)):
        order = list(rows)
        random.Random(f"{settings.seed} {phase} {epoch}").shuffle(order)
        order = order[: max(1, round(len(order) * min(1.0, epochs - epoch)))]
        made = _by_rows(order, settings, processes) if settings.rows_per_step else _by_tokens(order, settings)
        steps += [Step(packs, epoch + 1, is_last=number == len(made)) for number, packs in enumerate(made, start=1)]
    return steps


def _by_rows(order: list[TokenRow], settings: Settings, processes: int) -> list[list[list[TokenRow]]]:
    count = math.ceil(len(order) / (settings.rows_per_step or 1))
    bounds = [len(order) * number // count for number in range(count + 1)]
    return [spread(order[start:stop], settings.tokens_per_batch, processes) for start, stop in pairwise(bounds)]


def _by_tokens(order: list[TokenRow], settings: Settings) -> list[list[list[TokenRow]]]:
    made = packed(order, settings.tokens_per_batch)
    per_step = max(1, settings.tokens_per_step // settings.tokens_per_batch)
    return [made[start : start + per_step] for start in range(0, len(made), per_step)]


def pack_of(rows: Sequence[TokenRow], device: torch.device) -> Pack:
    """The tensors of one packed sequence."""
    ids: list[int] = []
    positions: list[int] = []
    before: list[int] = []
    bounds = [0]
    for row in rows:
        start = len(ids)
        ids += row.ids
        positions += range(len(row.ids))
        before += range(start + len(row.ids) - row.target_tokens - 1, start + len(row.ids) - 1)
        bounds.append(len(ids))
    all_ids, places = torch.tensor(ids), torch.tensor(before)
    return Pack(
        all_ids[None].to(device),
        torch.tensor(positions)[None].to(device),
        torch.tensor(bounds, dtype=torch.int32, device=device),
        max(len(row.ids) for row in rows),
        places.to(device),
        all_ids[places + 1].to(device),
    )
