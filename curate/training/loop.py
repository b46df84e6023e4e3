"""The training loop, written flat: summed token losses, one optimiser step per `tokens_per_step`, cosine schedule."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from curate.training.settings import Settings
from curate.training.tokens import TokenRow, batches, tensors
from schemas.errors import StageError

CLIP_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Point:
    """One optimiser step: mean loss in nats per target token, before the step."""

    phase: str
    step: int
    loss: float
    lr: float
    target_tokens: int


def train(
    model: Any, rows: Sequence[TokenRow], epochs: float, settings: Settings, phase: str, say: Callable[[str], None]
) -> list[Point]:
    """Train in place and give the curve. Raises StageError at a loss that is not finite, before the weights take it."""
    if not rows or epochs <= 0:
        return []
    device = next(model.parameters()).device
    torch.manual_seed(settings.seed)
    steps = _steps(rows, epochs, settings, phase)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.lr_peak, betas=settings.betas, weight_decay=settings.weight_decay
    )
    model.train()
    curve: list[Point] = []
    for number, step in enumerate(steps, start=1):
        lr = settings.lr_peak * schedule(number, len(steps), settings.lr_warmup_share)
        for group in optimiser.param_groups:
            group["lr"] = lr
        target_tokens = sum(row.target_tokens for batch in step for row in batch)
        total = 0.0
        for batch in step:
            loss = summed_loss(model, tensors(batch, _pad(model), device)) / target_tokens
            if not torch.isfinite(loss):
                raise StageError(
                    f"train: the loss of step {number} ({phase}) is {loss.item()}", do="lower train.lr_peak"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        curve.append(Point(phase, number, total, lr, target_tokens))
        say(f"{phase}: step {number} of {len(steps)}, loss {total:.3f} nats/token")
    return curve


def summed_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sum of the cross-entropy over all labelled tokens of a batch, in nats, computed in float32."""
    with torch.autocast("cuda", torch.bfloat16, enabled=batch["input_ids"].is_cuda):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    flat = logits[:, :-1].reshape(-1, logits.shape[-1]).float()
    return torch.nn.functional.cross_entropy(flat, batch["labels"][:, 1:].reshape(-1), reduction="sum")


@torch.no_grad()
def row_losses(model: Any, rows: Sequence[TokenRow], tokens_per_batch: int) -> dict[str, tuple[float, int]]:
    """For each row id the summed loss of its target in nats, and its target tokens."""
    model.eval()
    device = next(model.parameters()).device
    losses: dict[str, tuple[float, int]] = {}
    for batch in batches(sorted(rows, key=lambda row: (len(row.ids), row.row_id)), tokens_per_batch, None):
        made = tensors(batch, _pad(model), device)
        with torch.autocast("cuda", torch.bfloat16, enabled=made["input_ids"].is_cuda):
            logits = model(input_ids=made["input_ids"], attention_mask=made["attention_mask"], use_cache=False).logits
        each = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), made["labels"][:, 1:], reduction="none"
        ).sum(dim=1)
        losses.update(
            {row.row_id: (float(loss), row.target_tokens) for row, loss in zip(batch, each.tolist(), strict=True)}
        )
    return losses


def schedule(step: int, steps: int, warmup_share: float) -> float:
    """Share of the highest learning rate at a step, counted from 1: linear warm-up, then cosine to 0."""
    warmup = max(1, round(steps * warmup_share))
    if step <= warmup:
        return step / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup + 1)))


def _steps(rows: Sequence[TokenRow], epochs: float, settings: Settings, phase: str) -> list[list[list[TokenRow]]]:
    """The batches of each step; the order of each epoch is drawn from seed, phase and epoch."""
    per_step = max(1, settings.tokens_per_step // settings.tokens_per_batch)
    planned: list[list[TokenRow]] = []
    for epoch in range(math.ceil(epochs)):
        order = random.Random(f"{settings.seed} {phase} {epoch}")
        made = list(batches(rows, settings.tokens_per_batch, order))
        share = min(1.0, epochs - epoch)
        planned += made[: max(1, round(len(made) * share))]
    return [planned[start : start + per_step] for start in range(0, len(planned), per_step)]


def _pad(model: Any) -> int:
    return int(model.config.pad_token_id or 0)
