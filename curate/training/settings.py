"""The settings of a training run, and the presets that give their defaults."""

from dataclasses import dataclass

from curate.training.templates import Template


@dataclass(frozen=True, slots=True)
class Lora:
    """Adapters of `rank`, scaled by alpha / rank, beside the layers whose names end in one of `targets`; () is all.

    base: what the adapter's own configuration is to name as its base.
    """

    rank: int
    alpha: int
    dropout: float
    targets: tuple[str, ...] = ()
    base: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What training depends on.

    A step sums the gradients of `rows_per_step` rows, or, where that is None, of `tokens_per_step` packed tokens.
    tokens_per_batch: of one packed sequence, which is what the model sees at once; it decides memory, not results.
    """

    base: str | None
    template: Template
    warmup_share: float
    seed: int
    device: str
    epochs: float
    lr_peak: float
    lr_warmup_share: float
    weight_decay: float
    betas: tuple[float, float]
    rows_per_step: int | None
    tokens_per_step: int
    tokens_per_batch: int
    max_tokens: int
    vocabulary_size: int = 2048
    activation_checkpointing: bool = False
    compile: bool = False
    lora: Lora | None = None
    evaluate_steps: int | None = None
    samples: int = 0


TINY = {
    "epochs": 6.0,
    "lr_peak": 5e-3,
    "lr_warmup_share": 0.1,
    "weight_decay": 0.01,
    "betas": (0.9, 0.98),
    "rows_per_step": None,
    "tokens_per_step": 2048,
    "tokens_per_batch": 2048,
    "max_tokens": 1024,
}
"""Measured on a synthetic editing task: docs/train.md."""

REFERENCE = {
    "epochs": 3.0,
    "lr_peak": 2e-5,
    "lr_warmup_share": 0.03,
    "weight_decay": 0.0,
    "betas": (0.9, 0.95),
    "rows_per_step": 256,
    "tokens_per_step": 8192,
    "tokens_per_batch": 8192,
    "max_tokens": 2048,
    "activation_checkpointing": True,
    "evaluate_steps": 50,
}
"""The reference training of the paper's code: 256 rows a step, 3 epochs, rows of at most 2048 tokens."""

BASES = {
    "tiny": None,
    "aligner-2b": "google/gemma-2b",
    "aligner-7b": "meta-llama/Llama-2-7b-hf",
    "aligner-13b": "meta-llama/Llama-2-13b-hf",
}
"""Preset to the model that it starts from; `tiny` starts from scratch."""


def settings(preset: str, template: Template, warmup_share: float, seed: int, device: str, **given: object) -> Settings:
    """The preset's settings, replaced by what is given and not None; `tokens_per_step` replaces rows a step."""
    given = {name: value for name, value in given.items() if value is not None}
    values = {**(TINY if preset == "tiny" else REFERENCE), "base": BASES[preset], **given}
    if "tokens_per_step" in given:
        values["rows_per_step"] = None
        values["tokens_per_batch"] = min(int(str(values["tokens_per_batch"])), int(str(given["tokens_per_step"])))
    return Settings(template=template, warmup_share=warmup_share, seed=seed, device=device, **values)  # type: ignore[arg-type]
