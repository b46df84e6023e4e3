"""Peer of bench/generate.py: a distilabel pipeline with one task, as many prompts in a batch as calls in flight.

Runs in an environment of its own: python -m venv E && E/bin/pip install 'distilabel[openai]==1.5.3' requests
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


def main(url: str, path: str, width: int) -> None:
    """Its LLM sends the prompts of a batch together, and takes the next batch when all are answered."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = [{"instruction": json.loads(line)["prompt"]} for line in lines]
    with Pipeline(name="bench", cache_dir=Path(path).parent / f"distilabel-{width}") as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=width)
        model = OpenAILLM(model="made-up", base_url=url, api_key="none", generation_kwargs={"max_new_tokens": 64})
        load >> TextGeneration(llm=model, input_batch_size=width)
    found = pipeline.run(use_cache=False)["default"]["train"]
    answered = sum(text is not None for text in found["generation"])
    print(json.dumps({"rows": answered, "version": version("distilabel")}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
