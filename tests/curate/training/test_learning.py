"""A tiny model really learns to correct: names never seen, rows to fix and rows to leave alone told apart."""

import re

import pytest
import torch

from curate.training import loop, models
from curate.training.settings import settings
from curate.training.templates import TEMPLATES
from curate.training.tokens import token_rows
from curate.training.writing import write_corrections
from tests.unit_task import Row, rows, two_lists_of_names

LONGEST = 256


def learned(device: str, epochs: float, count: int) -> tuple[list[Row], list[str]]:
    """Test rows with unseen names, and what a model trained on `count` other rows writes for them."""
    torch.set_num_threads(1)
    seen, unseen = two_lists_of_names(0)
    train, test = rows(count, seen, 1), rows(150, unseen, 2)
    tokenizer = models.train_tokenizer((_frame(text) for row in train for text in (row.prompt, row.correction)), 313)
    model = models.tiny_model(tokenizer, LONGEST, seed=1).to(device)
    made = settings("tiny", TEMPLATES["T1"], 0.0, 1, device, epochs=epochs, max_tokens=LONGEST)
    ids, prompts, targets = zip(*((row.row_id, row.prompt, row.correction) for row in train), strict=True)
    loop.train(model, token_rows(tokenizer, ids, prompts, targets), epochs, made, "correct", lambda _: None)
    outputs = write_corrections(model, tokenizer, [row.prompt for row in test], 40, 64, lambda _: None)
    return test, outputs


def _frame(text: str) -> str:
    """The text without names and numbers: merges that swallow them would make copying unlearnable."""
    return re.sub(r"\d+", "", re.sub(r"([Tt]he (?:risky )?)\w+ ", r"\1", text))


def exact(test: list[Row], outputs: list[str], *, is_fix: bool) -> float:
    matches = [out == row.correction for row, out in zip(test, outputs, strict=True) if row.is_fix is is_fix]
    return sum(matches) / len(matches)


def test_a_tiny_model_learns_to_fix_and_to_leave_alone():
    test, outputs = learned("cpu", 1.25, 16_000)
    assert exact(test, outputs, is_fix=True) > 0.9
    assert exact(test, outputs, is_fix=False) > 0.9


@pytest.mark.gpu
def test_it_learns_the_same_in_bf16_on_cuda():
    if not torch.cuda.is_available():
        pytest.skip("NOT TESTED ON A GPU: torch sees no CUDA device, so bf16 training was not proved here")
    test, outputs = learned("cuda", 1.25, 16_000)
    assert exact(test, outputs, is_fix=True) > 0.9
    assert exact(test, outputs, is_fix=False) > 0.9
