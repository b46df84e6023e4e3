"""Peer of bench/filter.py: the same rules, written as a plain loop over rows. Prints CPU seconds."""

import json
import re
import sys
import time
from pathlib import Path

LETTER = re.compile(r"[^\W\d_]")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
DAMAGE = re.compile(
    "\ufffd|\u00c3[\u0080-\u00bf\u2018-\u203a\u20ac]|\u00e2\u20ac|\u00c2[\u0080-\u00bf]|[\x00-\x08\x0e-\x1f\x7f]"
)
LINK = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)
LEFTOVER = re.compile(
    r"\[(?:insert|your|enter|add)\b[^\]\n]{0,40}\]|<(?:insert|your)\b[^>\n]{0,40}>|\{\{ ?\w{1,30} ?\}\}"
    r"|lorem ipsum\b.*",
    re.IGNORECASE,
)
PERSONAL = re.compile(
    r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}|\b(?:\d{4}[ -]){3}\d{4}\b"
    r"|\b\d{3}-\d{2}-\d{4}\b|(?:\+\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b"
)


def passes(text: str, unsafe: list[re.Pattern[str]]) -> bool:
    """Whether a text passes the default thresholds; tags are looked for as well."""
    characters = len(text.strip())
    visible = sum(not character.isspace() for character in text) or 1
    words = text.lower().split(" ")
    repeated = 0.0 if len(words) < 20 else 1 - len(set(words)) / len(words)
    for pattern in (*unsafe, PERSONAL):
        pattern.search(text)
    return (
        3 <= characters <= 8000
        and len(LETTER.findall(text)) / visible >= 0.2
        and len(WORD.findall(text)) >= 2
        and len(DAMAGE.findall(text)) / max(1, len(text)) <= 0.02
        and 1 - len(LINK.sub("", text)) / max(1, len(text)) <= 0.5
        and repeated <= 0.8
        and 1 - len(LEFTOVER.sub("", text)) / max(1, len(text)) <= 0.25
    )


def main(path: str, rows: int) -> None:
    """Judge the first `rows` texts of a JSON lines file."""
    from curate.rules.unsafe import CATEGORIES

    unsafe = [re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for words in CATEGORIES.values()]
    with Path(path).open(encoding="utf-8") as lines:
        texts = [json.loads(line)["prompt"] for _, line in zip(range(rows), lines, strict=False)]
    started = time.process_time()
    kept = sum(passes(text, unsafe) for text in texts)
    print(json.dumps({"rows": len(texts), "kept": kept, "seconds": time.process_time() - started}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
