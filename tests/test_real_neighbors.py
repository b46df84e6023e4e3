"""Dedup on real rows: equal to a brute force in float64, whatever the backend, order, blocks and shards."""

import gzip
import json

import numpy as np
import polars as pl
import pytest

from curate.config.reading import read_pipeline
from curate.embed.embedder import Embedder, EmbedSettings
from curate.neighbors.folding import fold_for
from curate.neighbors.kept import FaissKept, TorchKept
from curate.neighbors.leading import Join, Leaders, lead
from curate.pipeline import run_stage
from curate.store.run import RunStore
from tests.conftest import REAL_DATA, lines, needs_real_data
from tests.curate.neighbors.test_leading import assert_same, by_plain_loop

MODEL = EmbedSettings("sentence-transformers/all-MiniLM-L6-v2")
THRESHOLD, FLOOR = 0.95, 0.92
pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    """Vectors of 5,000 real prompts of one collection, which holds many near-duplicates; cut for the test's time."""
    needs_real_data()
    with gzip.open(REAL_DATA / "prompts" / "p3_prompts.jsonl.gz", "rt", encoding="utf-8") as file:
        prompts = sorted({json.loads(line)["prompt"][:100] for line in file})
    return Embedder(MODEL, "cpu").encode(prompts[:: len(prompts) // 5000][:5000])


@pytest.fixture(scope="module")
def by_brute_force(real: np.ndarray) -> Leaders:
    return by_plain_loop(real, THRESHOLD, FLOOR)


def test_enough_real_rows_are_near(real, by_brute_force):
    assert len(real) == 5000
    assert 100 < (~by_brute_force.is_leader).sum() < 4900


@pytest.mark.parametrize("block_rows", [256, 1024, 5000])
@pytest.mark.parametrize("backend", ["torch", "torch folded", "half folded", "two devices", "faiss"])
def test_the_dropped_rows_their_twins_and_scores_are_those_of_brute_force(real, by_brute_force, backend, block_rows):
    fold = fold_for(real, FLOOR) if "folded" in backend else None
    width = real.shape[1] if fold is None else fold.dimensions
    if backend == "faiss":
        kept = FaissKept(width)
    else:
        devices = ["cpu", "cpu"] if backend == "two devices" else ["cpu"]
        kept = TorchKept(width, devices, "float16" if "half" in backend else "float32")
    assert_same(lead(real, Join(THRESHOLD, FLOOR, fold, block_rows=block_rows), kept), by_brute_force)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_result(real, by_brute_force, threads):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(lead(real, Join(THRESHOLD, FLOOR), TorchKept(real.shape[1])), by_brute_force)
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def answered(tmp_path_factory) -> dict[str, RunStore]:
    """Answers of twelve models to 100 prompts, in two orders of their files, through dedup."""
    needs_real_data()
    rows = pl.read_parquet(REAL_DATA / "answers" / "alpaca_eval_answers.parquet").sort("prompt", "model")
    chosen = rows.filter(pl.col("prompt").is_in(rows["prompt"].unique().sort().head(100).implode())).to_dicts()
    stores = {}
    for name, ordered in (("one", chosen), ("other", chosen[::-1])):
        folder = tmp_path_factory.mktemp(name)
        lines(folder / "prompts.jsonl", [{"text": prompt} for prompt in {row["prompt"]: None for row in ordered}])
        lines(folder / "answers.jsonl", ordered)
        models = sorted({row["model"] for row in ordered})
        configured = "".join(
            f'[[pipelines.p.generate.models]]\nname = "{model}"\nprovider = "recorded"\npath = "answers.jsonl"\n'
            for model in models
        )
        (folder / "pipelines.toml").write_text(
            f'[[pipelines.p.sources]]\npath = "prompts.jsonl"\nfield = "text"\n{configured}'
            f"[pipelines.p.generate]\nanswers_per_prompt = {len(models)}\n"
        )
        pipeline = read_pipeline(folder / "pipelines.toml")
        for stage in ("filter", "generate", "dedup"):
            run_stage(pipeline, stage, lambda _: None, again=False)
        stores[name] = RunStore(pipeline.workdir)
    return stores


def test_the_order_of_real_rows_does_not_matter(answered):
    tables = [
        store.table("dedup", table).collect().drop("source_row", strict=False)
        for table in ("pairs", "duplicates", "near_misses", "clusters")
        for store in answered.values()
    ]
    assert all(one.equals(other) for one, other in zip(tables[::2], tables[1::2], strict=True))


def test_dedup_of_what_stayed_drops_nothing(answered, tmp_path):
    kept = answered["one"].table("dedup", "pairs").collect()
    lines(tmp_path / "prompts.jsonl", [{"text": prompt} for prompt in kept["question"].unique().sort()])
    lines(
        tmp_path / "answers.jsonl",
        [{"prompt": q, "model": m, "answer": a} for q, m, a in kept.select("question", "model", "answer").iter_rows()],
    )
    config = (answered["one"].workdir.parent.parent / "pipelines.toml").read_text()
    (tmp_path / "pipelines.toml").write_text(config)
    pipeline = read_pipeline(tmp_path / "pipelines.toml")
    for stage in ("filter", "generate", "dedup"):
        run_stage(pipeline, stage, lambda _: None, again=False)
    assert RunStore(pipeline.workdir).published("dedup").accounting.dropped == 0


def test_few_answers_of_other_models_fall(answered):
    manifest = answered["one"].published("dedup")
    nearly = manifest.dropped_by["dedup.lexical"] + manifest.dropped_by["dedup.near"]
    assert manifest.accounting.rows_in > 1100
    assert 0 < nearly / manifest.accounting.rows_in < 0.02
