"""What a real Aligner made of real answers, as a pipeline of recorded files; no gate judges and nothing is merged."""

import gzip
import json
from pathlib import Path

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from tests.conftest import REAL_DATA, lines


def triples(model: str) -> list[dict[str, str]]:
    """Question, answer of this upstream model, correction."""
    with gzip.open(REAL_DATA / "corrections" / f"aligner-2b_{model}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def pipeline_of(found: list[dict[str, str]], folder: Path, more: str = "") -> Pipeline:
    """more: further lines of the configuration."""
    lines(folder / "prompts.jsonl", [{"text": row["question"]} for row in found])
    lines(folder / "answers.jsonl", [{"prompt": r["question"], "model": "m", "answer": r["answer"]} for r in found])
    lines(folder / "corrections.jsonl", found)
    (folder / "pipelines.toml").write_text(
        """
        [[pipelines.p.sources]]
        path = "prompts.jsonl"
        field = "text"
        license = "CC-BY-NC-4.0"
        [pipelines.p.filter.thresholds]
        "length.characters" = { min = 0 }
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
        """
        + more
    )
    return read_pipeline(folder / "pipelines.toml")
