"""Cross-entropy of corrections: the head sees only places whose next token is a target, in parts, in float32."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from curate.training.attention import rows_apart
from curate.training.packing import Pack, pack_of, packed
from curate.training.ranks import ALONE, Ranks
from curate.training.tokens import TokenRow

HEAD_TOKENS = 2048
"""Targets whose logits exist at once: 2 GB in float32 at a vocabulary of 256K."""


def target_losses(model: Any, pack: Pack) -> torch.Tensor:
    """The loss of each target token in nats, float32, row by row; inside `rows_apart`.

    A model in parts has `losses`, which gathers them around `losses_of`.
    """
    losses: torch.Tensor = model.losses(pack) if hasattr(model, "losses") else losses_of(model, pack)
    return losses


def losses_of(model: Any, pack: Pack) -> torch.Tensor:
    """The losses of a model that is whole."""
    with torch.autocast("cuda", torch.bfloat16, enabled=pack.ids.is_cuda):
        hidden = model.base_model(
            input_ids=pack.ids,
            position_ids=pack.positions,
            use_cache=False,
            cu_seq_lens_q=pack.bounds,
            cu_seq_lens_k=pack.bounds,
            max_length_q=pack.longest,
            max_length_k=pack.longest,
        ).last_hidden_state[0, pack.before]
        head = model.get_output_embeddings()
        parts = list(zip(torch.split(hidden, HEAD_TOKENS), torch.split(pack.targets, HEAD_TOKENS), strict=True))
        if len(parts) == 1 or not hidden.requires_grad:
            return torch.cat([_head_losses(head, *part) for part in parts])
        return torch.cat([checkpoint(_head_losses, head, *part, use_reentrant=False) for part in parts])


def _head_losses(head: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(head(hidden).float(), targets, reduction="none")


@torch.no_grad()
def row_losses(
    model: Any, rows: Sequence[TokenRow], tokens_per_batch: int, ranks: Ranks = ALONE
) -> dict[str, tuple[float, int]]:
    """For each row id the summed loss of its target in nats, and its target tokens. The model is left in evaluation.

    Of several processes each gets its share of the rows.
    """
    model.eval()
    device = next(model.parameters()).device
    losses: dict[str, tuple[float, int]] = {}
    with rows_apart(model):
        packs = packed(sorted(rows, key=lambda row: (-len(row.ids), row.row_id)), tokens_per_batch)
        for part, counts in ranks.share(packs):
            each = torch.split(target_losses(model, pack_of(part, device)), [row.target_tokens for row in part])
            if counts:
                losses.update(
                    {row.row_id: (float(loss.sum()), row.target_tokens) for row, loss in zip(part, each, strict=True)}
                )
    return losses
