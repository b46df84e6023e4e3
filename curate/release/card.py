"""The data card of a release: every number in it is counted, none is typed."""

from typing import Any

CARD = """---
license: {license}
task_categories:
- text-generation
tags:
- alignment
- aligner
- question-answer-correction
configs:
- config_name: default
  data_files:
{data_files}
---

# {name} {version}

Question, answer, correction: `question` is a user's prompt, `answer` what an upstream model said, `correction` the
better answer written from both. A correction may equal its answer ({identity} of {rows} rows do): an Aligner must
also learn to leave a good answer alone.

| split | rows |
| --- | --- |
{splits}

{tables}
## Files

- `data/*.parquet`, `jsonl/*.jsonl`: all columns, with provenance (`schema.json` describes them).
- `json/*.json`: one JSON array of `question`, `answer`, `correction` a split, as the Aligner reference code reads it.
- `manifest.json`: SHA-256 of each file, the content root, the stages' fingerprints. `curate release verify` checks it.

Splits follow clusters of near-duplicate questions: no cluster stands in two splits.
Model output can be wrong or offensive; prompts include unsafe requests on purpose.
"""


def card(manifest: dict[str, Any]) -> str:
    """The README.md of a release, made from its manifest."""
    licenses = sorted(name for name in manifest["counts"]["license"] if name != "null")
    fills = {
        "license": licenses[0].lower()
        if len(licenses) == 1 and "null" not in manifest["counts"]["license"]
        else "other",
        "data_files": "\n".join(
            f"  - split: {split}\n    path: data/{split}.parquet" for split, rows in manifest["splits"].items() if rows
        ),
        "name": manifest["name"],
        "version": manifest["version"],
        "identity": str(manifest["identity_corrections"]),
        "rows": str(manifest["rows"]),
        "splits": "\n".join(f"| {split} | {rows} |" for split, rows in manifest["splits"].items()),
        "tables": "".join(_table(column, counts) for column, counts in manifest["counts"].items()),
    }
    text = CARD
    for name, value in fills.items():
        text = text.replace("{" + name + "}", value, 1)
    return text


def _table(column: str, counts: dict[str, int]) -> str:
    rows = "\n".join(f"| {_cell(name)} | {count} |" for name, count in counts.items())
    return f"| {column} | rows |\n| --- | --- |\n{rows}\n\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
