"""Train: useful tokens a second packed beside padded, fill; on a GPU tokens/s, MFU and memory of 1.7B and 7B."""

import json
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from form.measuring import Ratio, main
from peers import padded_train
from transformers import LlamaConfig, LlamaForCausalLM

from curate.training import loop
from curate.training.packing import Step, steps_of
from curate.training.settings import Settings, settings
from curate.training.speed import StepLog
from curate.training.templates import TEMPLATES
from curate.training.tokens import TokenRow

VOCABULARY = 2048
TRIES = 3
SHAPES = {
    "1.7B": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 16},
    "7B": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
}
"""Random weights in the shape of a Llama; 7B is Llama 2's. Both with a vocabulary of 32,000."""
STATE_BYTES = 16
"""A weight, its gradient and two moments, in float32."""
GPU_STEPS = 6


def made_rows(count: int, seed: int) -> list[TokenRow]:
    """Rows of 40 to 2,048 tokens: median 600, deviation of the logarithm 0.7, near to real ones; 45 % correction."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        size = min(2048, max(40, round(math.exp(draw.gauss(math.log(600), 0.7)))))
        ids = [draw.randrange(3, VOCABULARY) for _ in range(size)]
        rows.append(TokenRow(f"{number:032x}", ids, round(size * 0.55)))
    return rows


def llama(shape: dict[str, int], vocabulary: int, device: torch.device) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=vocabulary, max_position_embeddings=2048, tie_word_embeddings=False, **shape)
    with device:
        return LlamaForCausalLM(config)


def papers(device: str, **given: object) -> Settings:
    return settings("aligner-7b", TEMPLATES["T1"], 0.2, 1, device, **given)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds: the machine is shared, and both sides use the same threads."""
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


def packed_and_padded(rows: list[TokenRow]) -> tuple[dict[str, Ratio], list[str]]:
    """The same rows, model and steps both ways, in turn."""
    device = torch.device("cpu")
    torch.set_num_threads(1)  # on a shared machine threads that wait for each other count as CPU seconds
    shape = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = llama(shape, VOCABULARY, device)
    step = steps_of(rows, 1, papers("cpu", rows_per_step=len(rows)), "correct")[0]
    useful = step.tokens
    order = [row for pack in step.packs for row in pack]
    random.Random(1).shuffle(order)
    packed_s, padded_s, losses = [], [], set()
    loop.accumulate(model, Step(step.packs[:1], 1, is_last=True), device)
    for _ in range(TRIES):
        seconds, loss = timed(lambda: loop.accumulate(model, step, device))
        packed_s.append(seconds)
        losses.add(round(loss, 4))
        seconds, (loss, seen) = timed(lambda: padded_train.accumulate(model, order, device))
        padded_s.append(seconds)
        losses.add(round(loss, 4))
    packed, padded = useful / statistics.median(packed_s), useful / statistics.median(padded_s)
    ratios = {
        "packed / padded": Ratio(packed / padded, 1.3, True, "useful tokens a CPU-s over batches of 4 padded rows"),
    }
    return ratios, [
        f"{len(rows)} rows, {useful:,} tokens, one step: packed {packed:,.0f} useful tokens a CPU-s, padded "
        f"{padded:,.0f}, of whose tokens {useful / seen:.0%} are useful; loss {' and '.join(map(str, sorted(losses)))}",
    ]


def filled(count: int) -> tuple[dict[str, Ratio], list[str]]:
    """How full an epoch of the paper's presets is, and that it has the steps that its rows make."""
    given, rows = papers("cpu"), made_rows(count, 2)
    started = time.process_time()
    steps = steps_of(rows, 1, given, "correct")
    seconds = time.process_time() - started
    packs = [sum(len(row.ids) for row in pack) for step in steps for pack in step.packs]
    expected = math.ceil(count / (given.rows_per_step or 1))
    return {
        "fill": Ratio(
            sum(packs) / (len(packs) * given.tokens_per_batch), 0.95, True, "tokens over room, 256 rows a step"
        ),
        "steps / padded steps": Ratio(len(steps) / expected, 1.0, True, "optimiser steps of an epoch: the same"),
    }, [f"{count:,} rows planned and packed into {len(steps)} steps in {seconds:.2f} CPU-s"]


def on_gpu(folder: Path, name: str, rows: list[TokenRow]) -> tuple[dict[str, Ratio], list[str]]:
    """Some steps of 32 rows by the loop as the stage calls it."""
    device = torch.device("cuda")
    with torch.device("meta"):
        weights = LlamaForCausalLM(LlamaConfig(vocab_size=32_000, **SHAPES[name])).num_parameters()
    room = torch.cuda.get_device_properties(device).total_memory
    if weights * STATE_BYTES * 1.05 > room:
        print(
            f"SKIPPED {name}: {weights * STATE_BYTES / 2**30:,.0f} GiB of state, {room / 2**30:,.0f} there",
            file=sys.stderr,
        )
        return {}, []
    model = llama(SHAPES[name], 32_000, device)
    torch.cuda.reset_peak_memory_stats()
    path = folder / f"{name}.jsonl"
    log = StepLog(path)
    given = papers("cuda", rows_per_step=len(rows) // GPU_STEPS)
    loop.train(model, rows, 1, given, "correct", lambda _: None, loop.Aside(log=log))
    log.close()
    figures = [json.loads(line) for line in path.read_text().splitlines()][2:]
    tokens_per_s = statistics.median(line["tokens_per_s"] for line in figures)
    mfu = statistics.median(line["mfu"] or 0.0 for line in figures)
    peak = max(line["peak_memory_bytes"] for line in figures) / 2**30
    step = steps_of(rows[: len(rows) // GPU_STEPS], 1, given, "correct")[0]
    order = [row for pack in step.packs for row in pack]
    loop.checkpoint_activations(model, is_on=True)
    packed_s = seconds_on_gpu(partial(loop.accumulate, model, step, device))
    padded_s = seconds_on_gpu(partial(padded_train.accumulate, model, order, device))
    del model
    torch.cuda.empty_cache()
    ratios = {f"packed / padded {name}": Ratio(padded_s / packed_s, 1.3, True, "useful tokens/s, passes of one step")}
    if mfu:
        ratios[f"MFU {name}"] = Ratio(mfu, 0.45, True, "of the dense bf16 peak")
    return ratios, [
        f"{name} on {torch.cuda.get_device_name()}: {tokens_per_s:,.0f} tokens/s, MFU {mfu:.1%}, peak {peak:,.1f} GiB",
        f"{name}, passes of one step, useful tokens/s: packed {step.tokens / packed_s:,.0f}, "
        f"padded {step.tokens / padded_s:,.0f}",
    ]


def seconds_on_gpu(work: Callable[[], Any]) -> float:
    """Of the second call; the first one warms up."""
    work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(folder: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """All figures."""
    ratios, lines = packed_and_padded(made_rows(max(8, shrunk(32)), 1))
    parts = [filled(shrunk(20_000))]
    if torch.cuda.is_available():
        parts += [on_gpu(folder, name, made_rows(32 * GPU_STEPS, 3)) for name in SHAPES]
    else:
        print(f"SKIPPED {' and '.join(SHAPES)}: torch sees no CUDA device", file=sys.stderr)
    for more, told in parts:
        ratios |= more
        lines += told
    lines.append(f"load average at the end: {os.getloadavg()[0]:.1f}")
    return ratios, lines


if __name__ == "__main__":
    main("train", measure)
