"""Peer of bench/generate.py: Bespoke Curator with limits of pace too high to matter.

Runs in an environment of its own: python -m venv E && E/bin/pip install bespokelabs-curator==0.1.31
It counts tokens with a vocabulary that it would download; a vocabulary of single bytes stands in for that one.
"""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path


def main(url: str, path: str, width: int) -> None:
    """Ask for all answers."""
    os.environ.update(CURATOR_DISABLE_RICH_DISPLAY="1", TELEMETRY_ENABLED="false", LITELLM_LOCAL_MODEL_COST_MAP="True")
    import tiktoken

    ranks = {bytes([value]): value for value in range(256)}
    tokens = tiktoken.Encoding("bytes", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={})
    tiktoken.get_encoding = lambda _: tokens
    from bespokelabs import curator
    from datasets import Dataset

    class Answerer(curator.LLM):
        def prompt(self, row: dict) -> str:
            return row["prompt"]

        def parse(self, row: dict, response: str) -> dict:
            return {"prompt": row["prompt"], "answer": response}

    lines = Path(path).read_text(encoding="utf-8").splitlines()
    model = Answerer(
        model_name="made-up",
        backend="openai",
        generation_params={"max_tokens": 64},
        backend_params={
            "base_url": url,
            "api_key": "none",
            "max_concurrent_requests": width,
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
            "max_retries": 3,
        },
    )
    asked = Dataset.from_list([{"prompt": json.loads(line)["prompt"]} for line in lines])
    found = model(asked, working_dir=str(Path(path).parent / f"curator-{width}"))
    rows = len(getattr(found, "dataset", found))
    print(json.dumps({"rows": rows, "version": version("bespokelabs-curator")}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
