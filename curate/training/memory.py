"""Running out of memory: what did not fit, and what to lower."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from curate.training.tokens import TokenRow
from schemas.errors import StageError


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Raises StageError, which says `what` did not fit, where the block runs out of the device's memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StageError(
            f"train: the device has too little memory for {what}: {_in_short(str(error))}",
            do="lower train.tokens_per_batch, and train.max_tokens where one row alone is longer; or set "
            "train.activation_checkpointing = true, or train a LoRA: [pipelines.NAME.train.lora]",
        ) from error


def in_words(pack: Sequence[TokenRow]) -> str:
    """A packed sequence in words."""
    tokens, targets = sum(len(row.ids) for row in pack), sum(row.target_tokens for row in pack)
    return (
        f"a pack of {tokens:,} tokens, {targets:,} of them targets (longest row {max(len(row.ids) for row in pack):,})"
    )


def _in_short(message: str) -> str:
    """torch goes on with settings of its allocator, which do not help here."""
    return ". ".join(message.split(". ")[:3]).splitlines()[0]
