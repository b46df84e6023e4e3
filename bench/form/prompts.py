"""Writes a file of prompts for a benchmark: real ones where they lie beside the checkout, else those of the demo.

Each row gets a running number, so that no two are equal. Usage: python prompts.py TARGET ROWS
"""

import gzip
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
REAL = ROOT.parent / "shared" / "data" / "prompts"


def texts() -> list[str]:
    """Prompts of many lengths, in a fixed order."""
    if not REAL.is_dir():
        lines = (ROOT / "examples" / "demo" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
        return sorted({json.loads(line)["prompt"] for line in lines})
    found = []
    with gzip.open(REAL / "p3_prompts.jsonl.gz", "rt", encoding="utf-8") as file:
        found += [json.loads(line)["prompt"] for line in file]
    with gzip.open(REAL / "gsm8k_train.json.gz", "rt", encoding="utf-8") as file:
        found += [row["instruction"] for row in json.load(file)]
    for path in sorted(REAL.glob("*.jsonl")):
        found += [json.loads(line)["instruction"] for line in path.read_text(encoding="utf-8").splitlines()]
    return found


def main(target: str, rows: int) -> None:
    """Write `rows` JSON lines with the field `prompt`."""
    known = texts()
    with Path(target).open("w", encoding="utf-8") as file:
        for number in range(rows):
            text = f"{known[number % len(known)]} (case {number})"
            file.write(json.dumps({"prompt": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
