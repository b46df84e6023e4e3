"""The largest packs once before the first step: a run that does not fit says so in its first minute, not on day two."""

from collections.abc import Sequence
from typing import Any

import torch

from curate.training.loop import accumulate, checkpoint_activations
from curate.training.memory import enough_memory
from curate.training.models import compile_layers
from curate.training.packing import Step
from curate.training.ranks import ALONE, Ranks
from curate.training.settings import Settings

MOMENTS = 2
"""Tensors that AdamW keeps for each one that it trains, from its first step on."""


def rehearse(model: Any, steps: Sequence[Step], settings: Settings, ranks: Ranks = ALONE) -> int | None:
    """Forward and backward passes of the pack with most targets and of that with most tokens; nothing stays of them.

    Beside them lies all that the largest step would find: room for the optimiser's moments, and gradients where a step
    has several packs. Weights and random generators are as before. Of several processes each takes the same packs, as
    each may meet them. Returns the highest number of bytes on CUDA. Raises StageError where memory runs out.
    """
    device = next(model.parameters()).device
    packs = [pack for step in steps for pack in step.packs]
    by_targets = max(
        packs, key=lambda pack: (sum(row.target_tokens for row in pack), sum(len(row.ids) for row in pack))
    )
    by_tokens = max(packs, key=lambda pack: (sum(len(row.ids) for row in pack), sum(row.target_tokens for row in pack)))
    largest = [by_tokens] if by_targets is by_tokens else [by_targets, by_tokens]
    trained = [one for one in model.parameters() if one.requires_grad]
    model.train()
    checkpoint_activations(model, is_on=settings.activation_checkpointing)
    compile_layers(model, is_on=settings.compile)
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        enough_memory("the optimiser's state"),
    ):
        moments = [torch.empty_like(one) for one in trained for _ in range(MOMENTS)]
        if any(len(step.packs) > ranks.count for step in steps):
            for one in trained:
                one.grad = torch.zeros_like(one)
        for pack in largest:
            accumulate(model, Step([pack] * ranks.count, epoch=1, is_last=False), device, ranks)
    del moments
    for one in trained:
        one.grad = None
    checkpoint_activations(model, is_on=False)
    if device.type != "cuda":
        return None
    highest = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return highest
