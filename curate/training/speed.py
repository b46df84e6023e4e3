"""How fast training goes: tokens a second, share of the GPU's arithmetic, memory. Figures of time, never published."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from curate.training.packing import Step

PEAK_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "A100": 312.0,
    "L40S": 362.05,
    "L4": 121.0,
    "RTX 4090": 165.2,
}
"""Dense bf16 with fp32 sums, as NVIDIA's data sheets have it; the first name that a device's own holds counts."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one token costs a model: weights that multiply, per token of the body and per target in the head."""

    body: int
    head: int
    attention_width: int
    """Layers × query heads × head size."""

    def flops(self, step: Step) -> float:
        """Multiplications and additions of forward and backward pass, recomputation not counted.

        6 for each weight and token (PaLM, appendix B, arXiv 2204.02311) in the body, and in the head for each target;
        attention 12 × width for each pair of tokens in a row (same source), halved, as half of the pairs are masked.
        """
        lengths = [len(row.ids) for pack in step.packs for row in pack]
        pairs = sum(length * length for length in lengths) / 2
        return 6.0 * (self.body * step.tokens + self.head * step.target_tokens) + 12.0 * self.attention_width * pairs


def work_of(model: Any) -> Work:
    """Counted from the model's parameters; the look-up of input embeddings multiplies nothing."""
    embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    loose = {id(embeddings), id(head)}
    body = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in loose)
    config = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Work(body, head.numel(), config.num_hidden_layers * config.num_attention_heads * size)


def peak_flops(device: torch.device) -> float | None:
    """Operations a second that a device could do at most; None where it is no GPU of the table."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((tflops * 1e12 for known, tflops in PEAK_TFLOPS.items() if known in name), None)


class StepLog:
    """`steps.jsonl` of a run, for people and plots: a line for each step as it happened; nothing of ours reads it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab+")
        if self._file.tell():
            self._file.seek(-1, os.SEEK_END)
            if self._file.read() != b"\n":
                self._file.write(b"\n")  # a killed run's last line may be torn

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line with the time; a kill costs at most the line that is being written."""
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **values}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Write all to the disk."""
        os.fsync(self._file.fileno())
        self._file.close()


class Watch:
    """Measures the steps of one phase. device: this process's; devices: all that share the work."""

    def __init__(self, model: Any, device: torch.device, steps: int, devices: int = 1) -> None:
        self._work, self._device, self._left = work_of(model), device, steps
        peak = peak_flops(device)
        self._peak = None if peak is None else peak * devices
        self._started = self._last = time.perf_counter()
        self._done = 0

    def figures(self, step: Step) -> dict[str, float | None]:
        """Of the step that has just ended: seconds, tokens/s, memory on CUDA, model FLOP utilisation (MFU)."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        self._done, self._left = self._done + 1, self._left - 1
        is_cuda = self._device.type == "cuda"
        mfu = None if self._peak is None else self._work.flops(step) / seconds / self._peak
        return {
            "seconds": round(seconds, 4),
            "tokens_per_s": round(step.tokens / seconds, 1),
            "peak_memory_bytes": torch.cuda.max_memory_allocated(self._device) if is_cuda else None,
            "mfu": None if mfu is None else round(mfu, 4),
        }

    def left(self) -> str:
        """How long the steps that are left will take, at the mean speed so far."""
        seconds = round((self._last - self._started) / max(1, self._done) * self._left)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"
