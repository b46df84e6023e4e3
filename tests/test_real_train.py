"""Training on corrections of a real Aligner: the held-out loss falls, and what is reported is what is so."""

import json
import math

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from curate.config.model import Pipeline
from curate.pipeline import run_stage
from curate.store.run import RunStore
from curate.training.templates import TEMPLATES
from tests.conftest import needs_real_data
from tests.real_corrections import pipeline_of, triples

pytestmark = pytest.mark.real_data
ROWS, MAX_TOKENS = 120, 1536


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Pipeline:
    """The first rows of what a real Aligner made of real answers, released and trained on."""
    needs_real_data()
    more = f"""
        [pipelines.p.release]
        validation_share = 0.15
        [pipelines.p.train]
        epochs = 2
        warmup_share = 0.1
        max_tokens = {MAX_TOKENS}
        max_too_long_share = 0.5
        """
    made = pipeline_of(triples("qwen1.5-72b-chat")[:ROWS], tmp_path_factory.mktemp("real"), more)
    for stage in ("filter", "generate", "dedup", "annotate", "release", "train"):
        run_stage(made, stage, lambda _: None, again=False)
    return made


def curve(made: Pipeline) -> list[dict]:
    path = RunStore(made.workdir).file("train", "curve.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def held_out(made: Pipeline) -> tuple[float, int]:
    """Nats per target token of the validation rows and their tokens, by transformers alone, row by row."""
    folder = RunStore(made.workdir).file("train", "aligner")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    triples = RunStore(made.workdir).table("release", "triples").filter(pl.col("split") == "validation").collect()
    loss = tokens = 0
    for question, answer, correction in triples.select("question", "answer", "correction").iter_rows():
        prompt = [tokenizer.bos_token_id, *ids(tokenizer, TEMPLATES["T1"].prompt(question, answer))]
        copy, target = (ids(tokenizer, TEMPLATES["T1"].target(text)) for text in (answer, correction))
        if len(prompt) + max(len(copy), len(target)) + 1 > MAX_TOKENS:
            continue
        target.append(tokenizer.eos_token_id)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
        loss += torch.nn.functional.cross_entropy(logits, torch.tensor(target), reduction="sum").item()
        tokens += len(target)
    return loss / tokens, tokens


def ids(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_the_held_out_loss_falls_below_its_start(real):
    losses = [line["held_out_loss"] for line in curve(real) if line["phase"] == "correct" and "held_out_loss" in line]
    start = next(line["loss"] for line in curve(real))
    assert losses[0] < start < math.log(2048) + 0.5
    assert losses == sorted(losses, reverse=True)


def test_the_reported_loss_is_what_transformers_finds(real):
    last = [line for line in curve(real) if "held_out_loss" in line][-1]
    loss, tokens = held_out(real)
    assert last["held_out_loss"] == pytest.approx(loss, abs=1e-4)
    assert last["target_tokens"] == tokens


def test_rows_over_the_longest_length_are_counted_by_id(real):
    store = RunStore(real.workdir)
    published = store.published("train")
    used = store.table("train", "rows").collect()
    dropped = store.table("train", "verdicts").filter(~pl.col("kept")).collect()
    assert used.height + dropped.height == published.accounting.rows_in
    assert not set(used["triple_id"]) & set(dropped["row_id"])
    assert 0 < dropped.height < published.accounting.rows_in / 2
