"""Training in the style of the paper's code: few random rows a batch, padded to the longest, the head on all places."""

from collections.abc import Sequence
from typing import Any

import torch

from curate.training.tokens import TokenRow

ROWS_PER_BATCH = 4
IGNORED = -100


def accumulate(model: Any, rows: Sequence[TokenRow], device: torch.device) -> tuple[float, int]:
    """Add the gradients of a step's rows; their mean loss, and the tokens that the model saw, padding too."""
    target_tokens = sum(row.target_tokens for row in rows)
    total, seen = torch.zeros((), device=device), 0
    for start in range(0, len(rows), ROWS_PER_BATCH):
        batch = rows[start : start + ROWS_PER_BATCH]
        longest = max(len(row.ids) for row in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.int64)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
        for number, row in enumerate(batch):
            ids[number, : len(row.ids)] = torch.tensor(row.ids)
            mask[number, : len(row.ids)] = 1
            labels[number, row.prompt_tokens : len(row.ids)] = torch.tensor(row.ids[row.prompt_tokens :])
        ids, mask, labels = ids.to(device), mask.to(device), labels.to(device)
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
        loss = loss / target_tokens
        loss.backward()
        total += loss.detach()
        seen += ids.numel()
    return total.item(), seen
