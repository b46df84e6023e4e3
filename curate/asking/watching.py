"""How far each model is, told now and then: one line a model for people, one object a model for programs."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from curate.asking.work import Model
from curate.progress import Progress

WINDOW_S = 30.0
"""Rates are those of the last half minute."""


@dataclass(frozen=True)
class Sight:
    """What one model had done at a time: decided calls and tokens."""

    at: float
    decided: int
    tokens: int


async def watch(models: list[Model], progress: Progress) -> None:
    """Tell how far the models are, until this is cancelled; one last time then, if anything was told before."""
    sights: list[deque[Sight]] = [deque([_sight(model)]) for model in models]
    try:
        while True:
            await asyncio.sleep(min(progress.every_s, WINDOW_S))
            progress.lines(*_report(models, sights))
    finally:
        progress.last_lines(*_report(models, sights))


def _report(models: list[Model], sights: list[deque[Sight]]) -> tuple[list[str], list[dict[str, object]]]:
    """A line for people and an event for programs, for each model that is worth one."""
    shown = [
        (model, seen) for model, seen in zip(models, sights, strict=True) if not model.ask.is_free or len(models) < 9
    ]
    lines, events = [], []
    for model, seen in shown:
        seen.append(_sight(model))
        while len(seen) > 2 and seen[-1].at - seen[1].at > WINDOW_S:
            seen.popleft()
        event = _event(model, seen[0], seen[-1])
        lines.append(_line(event))
        events.append(event)
    return lines, events


def _sight(model: Model) -> Sight:
    meter = model.meter
    return Sight(time.monotonic(), meter.done + meter.failed, meter.input_tokens + meter.output_tokens)


def _event(model: Model, before: Sight, after: Sight) -> dict[str, object]:
    meter = model.meter
    seconds = max(after.at - before.at, 1e-3)
    per_s = (after.decided - before.decided) / seconds
    left = max(0, meter.total - meter.known - meter.done - meter.failed)
    return {
        "model": model.ask.name,
        "done": meter.done + meter.known,
        "total": meter.total,
        "failed": meter.failed,
        "in_flight": meter.in_flight,
        "retries": meter.retries,
        "calls_per_s": round(per_s, 2),
        "tokens_per_s": round((after.tokens - before.tokens) / seconds, 1),
        "cost_usd": None if model.ask.config.price is None else meter.cost_nano_usd / 1e9,
        "eta_s": round(left / per_s) if per_s > 0 and left else None if left else 0,
        "stopped": model.stopped,
    }


def _line(event: dict[str, object]) -> str:
    parts = [f"{event['model']}: {event['done']:,}/{event['total']:,}"]
    parts += [
        f"{event[name]:,} {words}" for name, words in (("failed", "failed"), ("in_flight", "in flight")) if event[name]
    ]
    if event["retries"]:
        parts.append(f"{event['retries']:,} retries")
    if event["stopped"]:
        return ", ".join([*parts, f"stopped: {event['stopped']}"])[:200]
    parts.append(f"{event['calls_per_s']:,}/s")
    if event["tokens_per_s"]:
        parts.append(f"{event['tokens_per_s']:,} tokens/s")
    if event["cost_usd"] is not None:
        parts.append(f"{event['cost_usd']:,.4f} USD")
    if isinstance(event["eta_s"], int) and event["eta_s"]:
        parts.append(f"{_span(event['eta_s'])} left")
    return ", ".join(parts)


def _span(seconds: int) -> str:
    minutes, hours = seconds // 60, seconds // 3600
    return (
        f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
    )
