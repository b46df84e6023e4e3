"""A tiny Aligner that is really trained: it puts what an answer says of a numbered client into better words."""

import random
import re
from pathlib import Path

import torch

from curate.training import aligner, loop, models
from curate.training.settings import settings
from curate.training.templates import TEMPLATES
from curate.training.tokens import token_rows

TEMPLATE = TEMPLATES["T1"]


def question(number: int) -> str:
    """What client `number` asks."""
    return f"Client {number:03d}"


def corrected(number: int) -> str:
    """What the taught Aligner makes of the test server's answer to that question."""
    return f"Served: {number:03d}."


def teach(folder: Path) -> None:
    """Train on 1,500 rows, of which client numbers recur, and save; about ten seconds on one core."""
    torch.set_num_threads(1)
    draw = random.Random(1)
    numbers = [draw.randrange(1000) for _ in range(1500)]
    prompts = [TEMPLATE.prompt(question(one), f"Answer to: {question(one)}") for one in numbers]
    targets = [corrected(one) for one in numbers]
    frames = (re.sub(r"\d+", "", text) for text in (*prompts, *targets))
    tokenizer = models.train_tokenizer(frames, 400)
    model = models.tiny_model(tokenizer, 256, seed=1)
    made = settings("tiny", TEMPLATE, 0.0, 1, "cpu", epochs=2.5, max_tokens=256)
    rows = token_rows(tokenizer, [str(number) for number in range(len(numbers))], prompts, targets)
    loop.train(model, rows, 2.5, made, "correct", lambda _: None)
    aligner.save(aligner.Aligner(model, tokenizer, TEMPLATE), folder)
