"""Training on corrections of a real Aligner: the held-out loss falls, and what is reported is what is so."""

import gzip
import json
import math

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from curate.store.run import RunStore
from curate.training.templates import TEMPLATES
from tests.conftest import REAL_DATA, lines, needs_real_data

pytestmark = pytest.mark.real_data
ROWS, MAX_TOKENS = 120, 1536


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Pipeline:
    """The first rows of what a real Aligner made of real answers, released and trained on."""
    needs_real_data()
    folder = tmp_path_factory.mktemp("real")
    with gzip.open(REAL_DATA / "corrections" / "aligner-2b_qwen1.5-72b-chat.jsonl.gz", "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file][:ROWS]
    lines(folder / "prompts.jsonl", [{"text": row["question"]} for row in found])
    lines(folder / "answers.jsonl", [{"prompt": r["question"], "model": "m", "answer": r["answer"]} for r in found])
    lines(folder / "corrections.jsonl", found)
    (folder / "pipelines.toml").write_text(f"""
        [[pipelines.p.sources]]
        path = "prompts.jsonl"
        field = "text"
        license = "CC-BY-NC-4.0"
        [pipelines.p.filter.thresholds]
        "length.characters" = {{ min = 0 }}
        [[pipelines.p.generate.models]]
        name = "m"
        provider = "recorded"
        path = "answers.jsonl"
        [pipelines.p.dedup]
        question_similarity = 1.0
        lexical_similarity = 1.0
        [[pipelines.p.annotate.annotators]]
        name = "aligner-2b"
        kind = "recorded"
        path = "corrections.jsonl"
        [pipelines.p.release]
        validation_share = 0.15
        [pipelines.p.train]
        epochs = 2
        warmup_share = 0.1
        max_tokens = {MAX_TOKENS}
        max_too_long_share = 0.5
        """)
    made = read_pipeline(folder / "pipelines.toml")
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
