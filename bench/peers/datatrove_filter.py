"""Peer of bench/filter.py: datatrove's Gopher and C4 quality filters, the usual choice for text. Prints CPU seconds.

Runs in an environment of its own: python -m venv E && E/bin/pip install 'datatrove[processing]' spacy
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, GopherQualityFilter, GopherRepetitionFilter


def main(path: str, rows: int) -> None:
    """Judge the first `rows` texts of a JSON lines file by three filters."""
    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False)]
    with Path(path).open(encoding="utf-8") as lines:
        texts = [json.loads(line)["prompt"] for _, line in zip(range(rows), lines, strict=False)]
    for one in filters:
        one.filter(Document(text="A text that warms the tokeniser up.", id="0"))
    started = time.process_time()
    kept = sum(all(one.filter(Document(text=text, id="0")) is True for one in filters) for text in texts)
    seconds = time.process_time() - started
    print(json.dumps({"rows": len(texts), "kept": kept, "seconds": seconds, "version": version("datatrove")}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
