"""A tiny Aligner that really learned the task of `unit_task`, in under a minute on a CPU."""

import re
from typing import Any

import torch

from curate.training import loop, models
from curate.training.settings import settings
from curate.training.templates import TEMPLATES
from curate.training.tokens import token_rows
from tests.unit_task import Row, rows, two_lists_of_names

LONGEST = 256
SEEN, UNSEEN = two_lists_of_names(0)


def trained(device: str, epochs: float, count: int) -> tuple[Any, Any]:
    """Model and tokenizer, trained on `count` rows."""
    torch.set_num_threads(1)
    train = rows(count, SEEN, 1)
    tokenizer = models.train_tokenizer((_frame(text) for row in train for text in (row.prompt, row.correction)), 313)
    model = models.tiny_model(tokenizer, LONGEST, seed=0).to(device)
    made = settings("tiny", TEMPLATES["T1"], 0.0, 0, device, epochs=epochs, max_tokens=LONGEST)
    ids, prompts, targets = zip(*((row.row_id, row.prompt, row.correction) for row in train), strict=True)
    loop.train(model, token_rows(tokenizer, ids, prompts, targets), epochs, made, "correct", lambda _: None)
    return model, tokenizer


def unseen(count: int) -> list[Row]:
    """Rows with names that it never saw."""
    return rows(count, UNSEEN, 2)


def _frame(text: str) -> str:
    """The text without names and numbers: merges that swallow them would make copying unlearnable."""
    return re.sub(r"\d+", "", re.sub(r"([Tt]he (?:risky )?)\w+ ", r"\1", text))
