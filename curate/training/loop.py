"""The training loop, written flat: summed token losses of packed rows, one optimiser step a `Step`, cosine schedule."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from curate.training.attention import rows_apart
from curate.training.checkpoints import Checkpoints
from curate.training.losses import row_losses, target_losses
from curate.training.memory import enough_memory, in_words
from curate.training.models import compile_layers
from curate.training.packing import Step, pack_of, steps_of
from curate.training.ranks import ALONE, Ranks
from curate.training.samples import Sample, Sampling
from curate.training.settings import Settings
from curate.training.sharding import whole
from curate.training.speed import Log, Watch, in_passing
from curate.training.tokens import TokenRow
from schemas.errors import StageError

CLIP_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Point:
    """One optimiser step: mean loss in nats per target token, before the step. fill: filled share of packs."""

    phase: str
    step: int
    epoch: int
    loss: float
    lr: float
    rows: int
    tokens: int
    target_tokens: int
    fill: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Mean loss in nats per target token of rows that are not trained on, after a step."""

    phase: str
    step: int
    epoch: int
    held_out_loss: float
    rows: int
    target_tokens: int


Line = Point | HeldOut | Sample
"""What a curve is made of."""


@dataclass(frozen=True, slots=True)
class Aside:
    """What a run keeps beside the weights: checkpoints, logs, rows for the loss and samples at each evaluation.

    later_tokens: of the phases that come after, for the time that is left.
    """

    checkpoints: Checkpoints | None = None
    log: Log | None = None
    held_out: Sequence[TokenRow] = ()
    sampling: Sampling | None = None
    later_tokens: int = 0


def train(
    model: Any,
    rows: Sequence[TokenRow],
    epochs: float,
    settings: Settings,
    phase: str,
    say: Callable[[str], None],
    aside: Aside = Aside(),
    ranks: Ranks = ALONE,
) -> list[Line]:
    """Train in place and give the curve; where checkpoints hold a part of the phase, go on after it.

    What is drawn within a step depends on seed, phase, step and process alone, so no state of a generator is kept.

    Raises StageError at a loss or gradient that is not finite, before the weights take it.
    """
    if not rows or epochs <= 0:
        return []
    device = next(model.parameters()).device
    steps = steps_of(rows, epochs, settings, phase, ranks.count)
    optimiser = torch.optim.AdamW(
        [one for one in model.parameters() if one.requires_grad],
        lr=settings.lr_peak,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=device.type == "cuda",
    )
    done = 0
    curve: list[Line] = []
    if aside.checkpoints is not None:
        done, told = aside.checkpoints.resume(phase, model, optimiser)
        curve = [line_of(line) for line in told]
        if done > len(steps) or sum(isinstance(line, Point) for line in curve) != done:
            raise StageError(
                f"train: the checkpoint of {phase} says {done} of {len(steps)} steps, and its curve another number",
                do="start anew: curate run --stage train --again",
            )
    if done:
        _log(aside, {"event": "resumed", "phase": phase, "step": done})
    held_out_loss = next((line.held_out_loss for line in reversed(curve) if isinstance(line, HeldOut)), None)
    watch = Watch(model, device, sum(step.tokens for step in steps[done:]) + aside.later_tokens, ranks.count)
    compile_layers(model, is_on=settings.compile)
    model.train()
    checkpoint_activations(model, is_on=settings.activation_checkpointing)
    for number, step in enumerate(steps[done:], start=done + 1):
        lr = settings.lr_peak * schedule(number, len(steps), settings.lr_warmup_share)
        for group in optimiser.param_groups:
            group["lr"] = lr
        torch.manual_seed(random.Random(f"{settings.seed} {phase} {number} {ranks.rank}").getrandbits(63))
        loss = accumulate(model, step, device, ranks)
        norm = whole(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)).item()
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise StageError(
                f"train: the loss of step {number} ({phase}) is {loss}, its gradient {norm}",
                do="lower train.lr_peak",
            )
        with enough_memory("the optimiser's state"):
            optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        curve.append(_point(phase, number, step, loss, lr, settings.tokens_per_batch))
        figures = {**asdict(curve[-1]), **watch.figures(step)}
        _log(aside, figures)
        if aside.held_out and (step.is_last or (settings.evaluate_steps and number % settings.evaluate_steps == 0)):
            with enough_memory("the rows that are held out"):
                evaluated = HeldOut(phase, number, step.epoch, *held_out(model, aside.held_out, settings, ranks))
                samples = aside.sampling.write(model, phase, number, step.epoch, ranks) if aside.sampling else []
            curve += [evaluated, *samples]
            for line in (asdict(evaluated), *map(asdict, samples)):
                _log(aside, line)
            held_out_loss = evaluated.held_out_loss
            model.train()
        if aside.checkpoints is not None and number < len(steps) and aside.checkpoints.is_due(number, device):
            aside.checkpoints.save(phase, number, model, optimiser, [asdict(point) for point in curve])
        watch.go_on()
        say(in_passing(figures, len(steps), watch.left(), held_out_loss))
    checkpoint_activations(model, is_on=False)
    compile_layers(model, is_on=False)
    return curve


def accumulate(model: Any, step: Step, device: torch.device, ranks: Ranks = ALONE) -> float:
    """Add the gradients of a step to the model's; the mean loss over all target tokens of the step, in nats.

    FSDP takes the mean of all processes' gradients, so each process's loss is taken that many times.
    """
    total = torch.zeros((), device=device)
    with rows_apart(model):
        for pack, counts in ranks.share(step.packs):
            with enough_memory(in_words(pack)):
                loss = target_losses(model, pack_of(pack, device)).sum() * counts / step.target_tokens
                (loss * ranks.count).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
    return ranks.total([total.item()], device)[0]


def held_out(model: Any, rows: Sequence[TokenRow], settings: Settings, ranks: Ranks) -> tuple[float, int, int]:
    """Mean loss in nats per target token, rows and target tokens."""
    own = row_losses(model, rows, settings.tokens_per_batch, ranks).values()
    sums = [sum(loss for loss, _ in own), float(sum(tokens for _, tokens in own))]
    loss, tokens = ranks.total(sums, next(model.parameters()).device)
    return loss / tokens, len(rows), round(tokens)


def line_of(line: Mapping[str, Any]) -> Line:
    """One line of a curve, read back."""
    if "aligner_correction" in line:
        return Sample(**line)
    return HeldOut(**line) if "held_out_loss" in line else Point(**line)


def schedule(step: int, steps: int, warmup_share: float) -> float:
    """Share of the highest learning rate at a step, counted from 1: linear warm-up, then cosine to 0."""
    warmup = max(1, round(steps * warmup_share))
    if step <= warmup:
        return step / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup + 1)))


def _point(phase: str, number: int, step: Step, loss: float, lr: float, tokens_per_batch: int) -> Point:
    room = sum(max(tokens_per_batch, sum(len(row.ids) for row in pack)) for pack in step.packs)
    rows = sum(len(pack) for pack in step.packs)
    fill = round(step.tokens / room, 4)
    return Point(phase, number, step.epoch, loss, lr, rows, step.tokens, step.target_tokens, fill)


def _log(aside: Aside, values: Mapping[str, Any]) -> None:
    if aside.log is not None:
        aside.log.write(values)


def checkpoint_activations(model: Any, *, is_on: bool) -> None:
    """transformers called this gradient checkpointing until 5.18 or so."""
    word = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if is_on:
        getattr(model, f"{word}_checkpointing_enable")(**{f"{word}_checkpointing_kwargs": {"use_reentrant": False}})
    else:
        getattr(model, f"{word}_checkpointing_disable")()
