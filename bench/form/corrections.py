"""Publishes made-up pairs and corrections as the stages dedup and annotate would, for bench/release.py.

Usage: python corrections.py WORKDIR ROWS
"""

import hashlib
import sys
from pathlib import Path

import polars as pl

from curate.store.run import SHARD_ROWS, RunStore
from schemas.tables import Corrections, Pairs

QUESTION = "How do I get from station {} to the harbour without a car, and how long does it take on a Sunday?"
ANSWER = "Take the tram number {} to the old market and walk for ten minutes; on Sundays it runs every half hour. " * 3
BETTER = ANSWER + "Buy the ticket before you board, and check the timetable, because line {} may be diverted."


def _ids(kind: str, numbers: range) -> list[str]:
    return [hashlib.blake2b(f"{kind}{number}".encode(), digest_size=16).hexdigest() for number in numbers]


def main(workdir: Path, rows: int) -> None:
    """One pair and one correction a row; a tenth of the corrections equal their answer."""
    store = RunStore(workdir)
    blocks = [range(start, min(rows, start + SHARD_ROWS)) for start in range(0, rows, SHARD_ROWS)]
    with store.draft("dedup", {"rows": rows}, unit="pair", kept="pairs") as draft:
        for numbers in blocks:
            draft.write("pairs", _pairs(numbers))
        draft.publish(rows_in=rows)
    with store.draft("annotate", {"rows": rows}, unit="pair", kept="corrections") as draft:
        for numbers in blocks:
            draft.write("corrections", _corrections(numbers))
        draft.publish(rows_in=rows)
    for stage, table in (("import", "prompts"), ("filter", "prompts"), ("generate", "answers")):
        with store.draft(stage, {}, unit="row", kept=table) as draft:
            draft.publish(rows_in=0)


def _filled(text: str, numbers: range) -> list[str]:
    return [text.replace("{}", str(number)) for number in numbers]


def _pairs(numbers: range) -> pl.DataFrame:
    ids = _ids("pair", numbers)
    columns = {
        "pair_id": ids,
        "prompt_id": ids,
        "cluster_id": ids,
        "question": _filled(QUESTION, numbers),
        "turns": [[] for _ in numbers],
        "answer": _filled(ANSWER, numbers),
        "model": [f"model-{number % 8}" for number in numbers],
        "source": ["made-up"] * len(numbers),
        "source_row": list(numbers),
        "license": ["Apache-2.0"] * len(numbers),
        "language": ["en"] * len(numbers),
    }
    return pl.DataFrame(columns, schema=Pairs.create_empty().schema)


def _corrections(numbers: range) -> pl.DataFrame:
    texts = [ANSWER if number % 10 == 0 else BETTER for number in numbers]
    columns = {
        "correction_id": _ids("correction", numbers),
        "pair_id": _ids("pair", numbers),
        "annotator": ["made-up"] * len(numbers),
        "annotator_kind": ["model"] * len(numbers),
        "text": [text.replace("{}", str(number)) for text, number in zip(texts, numbers, strict=True)],
        "template_id": [None] * len(numbers),
        "principles_id": [None] * len(numbers),
        "request_id": [None] * len(numbers),
        "task_id": [None] * len(numbers),
        "seconds_spent": [None] * len(numbers),
    }
    return pl.DataFrame(columns, schema=Corrections.create_empty().schema)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
