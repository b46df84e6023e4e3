"""From texts to token rows and batches. Prompt and correction are tokenised apart, so the mask is exact."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

IGNORED = -100


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One training row: `ids` are prompt, target and EOS; labels count from position `prompt_tokens` on."""

    row_id: str
    ids: list[int]
    prompt_tokens: int

    @property
    def target_tokens(self) -> int:
        """Tokens that carry loss, EOS included."""
        return len(self.ids) - self.prompt_tokens


def token_rows(
    tokenizer: Any, row_ids: Sequence[str], prompts: Sequence[str], targets: Sequence[str]
) -> list[TokenRow]:
    """Rows in the order given. The prompt's ids are those that a user of the Aligner gets for the same text."""
    if not row_ids:
        return []
    before = prompt_ids(tokenizer, prompts)
    after = _text_ids(tokenizer, targets)
    return [
        TokenRow(row_id, [*prompt, *target, tokenizer.eos_token_id], len(prompt))
        for row_id, prompt, target in zip(row_ids, before, after, strict=True)
    ]


def prompt_ids(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """Ids of each prompt, after BOS where the tokenizer has one."""
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return [bos + ids for ids in _text_ids(tokenizer, prompts)]


def _text_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts alone. A text that spells a control token ("</s>") is text: it never becomes that token."""
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return found


def batches(rows: Sequence[TokenRow], tokens_per_batch: int, order: random.Random | None) -> Iterator[list[TokenRow]]:
    """Rows in batches of at most `tokens_per_batch` padded tokens, at least one row each; shuffled by `order`."""
    rows = list(rows)
    if order is not None:
        order.shuffle(rows)
    batch: list[TokenRow] = []
    for row in rows:
        longest = max(len(row.ids), max((len(one.ids) for one in batch), default=0))
        if batch and longest * (len(batch) + 1) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def tensors(batch: Sequence[TokenRow], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels, each int64 of shape (rows, longest); padding is on the right."""
    longest = max(len(row.ids) for row in batch)
    ids = torch.full((len(batch), longest), pad, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    for number, row in enumerate(batch):
        length = len(row.ids)
        ids[number, :length] = torch.tensor(row.ids)
        mask[number, :length] = 1
        labels[number, row.prompt_tokens : length] = torch.tensor(row.ids[row.prompt_tokens :])
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device), "labels": labels.to(device)}
