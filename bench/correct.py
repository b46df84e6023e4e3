"""Correct: forward passes and time of drafts from the answer, beside greedy decoding and prompt lookup decoding."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from form.measuring import Ratio, main

sys.path.insert(0, str(Path(__file__).parent.parent))

from curate.training.tokens import prompt_ids
from curate.training.writing import write_corrections, write_from_drafts
from tests.unit_aligner import trained, unseen

MAX_NEW_TOKENS = 40
LOOKED_UP = 10
TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class Run:
    """What one way of decoding wrote for all rows, one row at a time: texts, passes of each row, CPU seconds."""

    texts: list[str]
    passes: list[int]
    cpu_s: float


def one_at_a_time(model: Any, rows: list[Any], write: Callable[[Any], str]) -> Run:
    """Each row by itself, forward passes counted in the model."""
    count = 0

    def counting(*_: Any) -> None:
        nonlocal count
        count += 1

    handle = model.register_forward_pre_hook(counting)
    texts, passes = [], []
    started = time.process_time()
    for row in rows:
        before = count
        texts.append(write(row))
        passes.append(count - before)
    cpu_s = time.process_time() - started
    handle.remove()
    return Run(texts, passes, cpu_s)


def looked_up(model: Any, tokenizer: Any, prompt: str) -> str:
    """Prompt lookup decoding as transformers has it."""
    ids = torch.tensor(prompt_ids(tokenizer, [prompt]))
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        prompt_lookup_num_tokens=LOOKED_UP,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


def measure(_: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """All figures."""
    model, tokenizer = trained("cpu", 1.25, shrunk(16_000))
    model.eval()
    rows = unseen(shrunk(300))
    quiet = (MAX_NEW_TOKENS, 1, lambda _: None)
    ways: dict[str, Callable[[Any], str]] = {
        "draft": lambda row: write_from_drafts(model, tokenizer, [row.prompt], [row.answer], *quiet)[0],
        "greedy": lambda row: write_corrections(model, tokenizer, [row.prompt], *quiet)[0],
        f"prompt lookup of {LOOKED_UP}": lambda row: looked_up(model, tokenizer, row.prompt),
    }
    for way in ways.values():
        way(rows[0])
    runs = {name: one_at_a_time(model, rows, way) for name, way in ways.items()}
    draft, greedy, lookup = runs.values()
    assert draft.texts == greedy.texts == lookup.texts
    stays = [row.answer == text for row, text in zip(rows, greedy.texts, strict=True)]
    lines = [f"{len(rows)} rows with names never seen, {sum(stays)} of them unchanged; all texts identical"]
    for name, run in runs.items():
        parts = [
            f"{kind} {sum(chosen) / len(chosen):5.2f}"
            for kind, want in (("unchanged", True), ("changed", False))
            if (chosen := [count for count, stay in zip(run.passes, stays, strict=True) if stay is want])
        ]
        per_row_ms = run.cpu_s / len(rows) * 1000
        lines.append(f"{name:<20} passes a row: {', '.join(parts)}; {per_row_ms:6.1f} CPU-ms a row, one at a time")
    lines += batched(model, tokenizer, rows, greedy.texts)
    lines.append(f"load average at the end: {os.getloadavg()[0]:.1f}")
    unchanged = [count for count, stay in zip(draft.passes, stays, strict=True) if stay] or [1]
    return {
        "passes of unchanged rows": Ratio(
            sum(unchanged) / len(unchanged), 1.0, False, "forward passes a row, by draft"
        ),
        "passes, draft / greedy": Ratio(sum(draft.passes) / sum(greedy.passes), 0.3, False, "over all rows"),
        "passes, draft / lookup": Ratio(sum(draft.passes) / sum(lookup.passes), 0.8, False, "over all rows"),
        "time, draft / greedy": Ratio(draft.cpu_s / greedy.cpu_s, 0.4, False, "CPU time, one row at a time"),
        "time, draft / lookup": Ratio(draft.cpu_s / lookup.cpu_s, 0.8, False, "CPU time, one row at a time"),
    }, lines


def batched(model: Any, tokenizer: Any, rows: list[Any], texts: list[str]) -> list[str]:
    """All rows at once, as `curate correct` writes them, beside generate in batches of 64."""
    prompts, answers = [row.prompt for row in rows], [row.answer for row in rows]
    started = time.process_time()
    drafted = write_from_drafts(model, tokenizer, prompts, answers, MAX_NEW_TOKENS, TOKENS_PER_BATCH, lambda _: None)
    between = time.process_time()
    plain = write_corrections(model, tokenizer, prompts, MAX_NEW_TOKENS, 64, lambda _: None)
    ended = time.process_time()
    assert drafted == plain == texts
    told = ((between - started, "draft"), (ended - between, "greedy"))
    return [f"{name:<20} in batches: {len(rows) / seconds:,.0f} rows a CPU-s" for seconds, name in told]


if __name__ == "__main__":
    main("correct", measure)
