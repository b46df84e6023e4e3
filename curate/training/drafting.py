"""The Aligner writes from a draft: the answer is most of what it will write, so one pass checks all of it at once.

Each pass reads what was written last and a draft of what follows. Tokens that the model would have chosen itself stay,
and its own token takes the place of the first one that differs. Then the rest of the answer is the next draft, from
where it fits on to what was written. The result is that of greedy decoding token by token, in fewer passes: one for an
answer that stays as it is. docs/correct.md says what rounding can change.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch

from curate.training.ranks import ALONE, Ranks
from curate.training.tokens import TokenRow

CONTEXT = 8
"""Tokens to the left of a place that are compared, at most."""

SHORT = 8
"""Tokens of a draft, at most, after one of which nothing was accepted; half of it after each more: a free rewrite is
not slowed by drafts that are of no use."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the Aligner wrote for a row. ids: without EOS. has_ended: False where it was cut at its longest length."""

    row_id: str
    ids: list[int]
    is_unchanged: bool
    has_ended: bool
    passes: int


def write(
    model: Any, rows: Sequence[TokenRow], max_new_tokens: int, tokens_per_batch: int, ranks: Ranks = ALONE
) -> Iterator[list[Written]]:
    """Greedy corrections of rows whose target is the answer, batch by batch as they are done, short rows first.

    Of several processes all write all rows, and take the tokens of the first, so that none waits for a pass in vain.

    max_new_tokens: EOS included; a row gets fewer where the model has no more positions.
    tokens_per_batch: padded tokens of a first pass; a row alone may be longer.
    """
    model.eval()
    positions = positions_of(model)
    works = [_Work(row, max(1, min(max_new_tokens, positions - row.prompt_tokens))) for row in rows]
    works.sort(key=lambda work: (len(work.row.ids), work.row.row_id))
    start = 0
    while start < len(works):
        end = start + 1
        while end < len(works) and len(works[end].row.ids) * (end + 1 - start) <= tokens_per_batch:
            end += 1
        _finish(model, works[start:end], ranks)
        yield [work.result() for work in works[start:end]]
        start = end


def positions_of(model: Any) -> int:
    """How many tokens the model can read and write; as good as no bound where it names none."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize)


def place_in(draft: Sequence[int], written: Sequence[int], expected: int) -> int:
    """Where the draft goes on after `written`: behind the longest common left context, nearest to `expected`."""
    best, longest = min(expected, len(draft)), 0
    for place in range(1, len(draft) + 1):
        if draft[place - 1] != written[-1]:
            continue
        length = _common(draft[max(0, place - CONTEXT) : place][::-1], written[-CONTEXT:][::-1])
        if length > longest or (length == longest and abs(place - expected) < abs(best - expected)):
            best, longest = place, length
    return best


@dataclass(slots=True)
class _Work:
    """A row at work. cached: how many of its tokens the model's cache holds, all but the last one written."""

    row: TokenRow
    max_new_tokens: int
    written: list[int] = field(default_factory=list)
    draft: list[int] = field(default_factory=list)
    place: int = 0
    reach: int = 2 * SHORT
    cached: int = 0
    passes: int = 0

    def __post_init__(self) -> None:
        self.place = self.row.prompt_tokens
        self.draft = self.answer[: self.max_new_tokens - 1]

    @property
    def answer(self) -> list[int]:
        return self.row.ids[self.row.prompt_tokens : -1]

    @property
    def source(self) -> list[int]:
        return self.row.ids[:-1]

    @property
    def is_done(self) -> bool:
        return len(self.written) >= self.max_new_tokens or self.written[-1:] == self.row.ids[-1:]

    def unread(self) -> list[int]:
        """What the model has not read: the prompt, or the token that it wrote last."""
        return [*self.row.ids[: self.row.prompt_tokens], *self.written][self.cached :]

    def take(self, predicted: Sequence[int], unread: int) -> int:
        """Take over a pass, and say how many more tokens of the cache are right.

        predicted: the model's token at the end of `unread`, and after each token of the draft.
        """
        accepted = _common(self.draft, predicted)
        left = self.max_new_tokens - len(self.written)
        eos = self.row.ids[-1]
        new = list(takewhile(lambda token: token != eos, predicted[: accepted + 1]))
        self.written += [*new, eos][: min(left, accepted + 1)]
        self.passes += 1
        if not self.is_done:
            self.place = place_in(self.source, self.written, self.place + accepted + 1)
            self.reach = len(self.source) if accepted else max(1, min(self.reach // 2, SHORT))
            most = min(self.max_new_tokens - len(self.written) - 1, self.reach)
            self.draft = self.source[self.place : self.place + most]
        return unread + accepted

    def result(self) -> Written:
        has_ended = self.written[-1:] == self.row.ids[-1:]
        ids = self.written[:-1] if has_ended else self.written
        return Written(self.row.row_id, ids, has_ended and ids == self.answer, has_ended, self.passes)


@torch.no_grad()
def _finish(model: Any, works: Sequence[_Work], ranks: Ranks) -> None:
    """Write rows to their ends. Each goes on at its own pace; one that is done leaves the batch."""
    from transformers import DynamicCache

    device = next(model.parameters()).device
    cache = DynamicCache(config=model.config)
    has_cache = all(layer.is_croppable and not layer.is_sliding for layer in cache.layers)
    while works:
        width = cache.get_seq_length() if has_cache else 0
        unread = [work.unread() for work in works]
        fed = [[*ids, *work.draft] for ids, work in zip(unread, works, strict=True)]
        inputs = _inputs(fed, [work.cached for work in works], width, device)
        first = min(map(len, unread)) - 1
        longest = max(map(len, fed))
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(
                **inputs,
                past_key_values=cache if has_cache else None,
                use_cache=has_cache,
                logits_to_keep=longest - first,
            ).logits
        predicted = ranks.of_first(logits.argmax(dim=-1)).tolist()
        kept = [
            work.take(tokens[len(ids) - 1 - first : len(all_fed) - first], len(ids))
            for work, tokens, ids, all_fed in zip(works, predicted, unread, fed, strict=True)
        ]
        live = [number for number, work in enumerate(works) if not work.is_done]
        if has_cache and live:
            slots = [[*range(works[number].cached), *range(width, width + kept[number])] for number in live]
            _pack(cache, live, slots)
            for number in live:
                works[number].cached += kept[number]
        works = [works[number] for number in live]


def _inputs(
    fed: Sequence[Sequence[int]], cached: Sequence[int], width: int, device: torch.device
) -> dict[str, torch.Tensor]:
    """input_ids and position_ids of shape (rows, longest), padded on the right; attention_mask over cache and input."""
    longest = max(map(len, fed))
    ids = torch.zeros((len(fed), longest), dtype=torch.int64)
    positions = torch.zeros_like(ids)
    mask = torch.zeros((len(fed), width + longest), dtype=torch.int64)
    for number, (tokens, before) in enumerate(zip(fed, cached, strict=True)):
        ids[number, : len(tokens)] = torch.tensor(tokens)
        positions[number, : len(tokens)] = torch.arange(before, before + len(tokens))
        mask[number, :before] = 1
        mask[number, width : width + len(tokens)] = 1
    return {"input_ids": ids.to(device), "position_ids": positions.to(device), "attention_mask": mask.to(device)}


def _pack(cache: Any, rows: Sequence[int], slots: Sequence[Sequence[int]]) -> None:
    """Keep the cache of `rows`, and of each row its `slots`, moved to the left; what pads them is masked."""
    longest = max(map(len, slots))
    index = torch.tensor([[*one, *[0] * (longest - len(one))] for one in slots])[:, None, :]
    for layer in cache.layers:
        heads = torch.arange(layer.keys.shape[1])[None, :, None]
        where = tuple(one.to(layer.keys.device) for one in (torch.tensor(rows)[:, None, None], heads, index))
        layer.keys, layer.values = layer.keys[where], layer.values[where]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
