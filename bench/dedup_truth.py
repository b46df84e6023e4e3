"""Dedup against planted truth: of each kind of edit, how many pairs merge; thresholds tuned on one half of them.

The whole stage runs, through the command line, on real pairs with one known edit each (form/planted.py).
"""

import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

from form.measuring import Ratio, child, main
from form.planted import DIFFERENT, LEXICAL, REAL, SAME, Planted, planted

CURATE = Path(sys.executable).parent / "curate"
DEFAULTS = {"question_similarity": 0.95, "answer_similarity": 0.9, "shingle_similarity": 0.5, "lexical_similarity": 0.8}
TRIED = {"question_similarity": (0.85, 0.9, 0.95), "answer_similarity": (0.85, 0.9, 0.95)}
CONFIG = """
[[pipelines.bench.sources]]
path = "prompts.jsonl"
field = "prompt"
license = "MIT"

[pipelines.bench.filter.thresholds]
"length.characters" = {{ min = 1 }}

[pipelines.bench.generate]
answers_per_prompt = 2

[[pipelines.bench.generate.models]]
name = "base"
provider = "recorded"
path = "base.jsonl"

[[pipelines.bench.generate.models]]
name = "edited"
provider = "recorded"
path = "edited.jsonl"

[pipelines.bench.dedup]
{thresholds}
"""

Rates = dict[str, tuple[int, int]]
"""Kind to pairs that merged, and all of that kind."""


def measure(folder: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """All figures; without the real data there is nothing to edit."""
    if not REAL.is_dir():
        raise SystemExit(f"SKIPPED: the real pairs that are edited do not lie at {REAL}")
    truth = list(planted(max(200, shrunk(3000))))
    _write(folder, truth)
    lines = []
    is_quick = shrunk(1000) < 1000
    for values in product(*TRIED.values()) if not is_quick else ():
        tried = dict(zip(TRIED, values, strict=True))
        rates, _ = _merged(folder, truth, DEFAULTS | tried, half=0)
        same, rephrased, other = (_share(rates, kinds) for kinds in (LEXICAL, ("paraphrase",), DIFFERENT))
        shown = ", ".join(f"{name} {value}" for name, value in tried.items())
        lines.append(
            f"tuning half, {shown}: {same:.3f} of lexical kinds and {rephrased:.3f} of paraphrases found, "
            f"{other:.3f} of other edits merged"
        )
    rates, foreign = _merged(folder, truth, DEFAULTS, half=1)
    found, wrong = sum(rates[kind][0] for kind in SAME), sum(rates[kind][0] for kind in DIFFERENT)
    lines.append(
        f"reported half at the defaults: precision {found / max(1, found + wrong + foreign):.3f} among planted"
    )
    for kind in (*SAME, *DIFFERENT):
        merged, count = rates[kind]
        lines.append(f"  {kind:<17} {merged:>4} of {count:>4} merge ({merged / max(1, count):.3f})")
    lines.append(f"  merges of pairs of different bases: {foreign}, of {len(truth):,} bases of both halves")
    return {
        "lexical kinds found": Ratio(
            _share(rates, LEXICAL), 0.92, True, "formatting, typos, preamble, dropped sentence"
        ),
        "numbers kept apart": Ratio(1 - _share(rates, ("number",)), 1.0, True, "one number is another"),
        "negations kept apart": Ratio(1 - _share(rates, ("negation",)), 1.0, True, "one negation more or less"),
        "other models kept apart": Ratio(
            1 - _share(rates, ("other model",)), 0.88, True, "two models' answers to one prompt"
        ),
    }, lines


def _write(folder: Path, truth: list[Planted]) -> None:
    """Prompts once each, and what is recorded as the answers of two models, `base` and `edited`."""
    prompts = {pair[0]: None for one in truth for pair in (one.base, one.edited)}
    for name, rows in (
        ("prompts", [{"prompt": prompt} for prompt in prompts]),
        ("base", [_row(one.base, "base") for one in truth]),
        ("edited", [_row(one.edited, "edited") for one in truth]),
    ):
        seen: dict[str, str] = {}
        for row in rows:
            seen.setdefault(row["prompt"], json.dumps(row))
        (folder / f"{name}.jsonl").write_text("\n".join(seen.values()) + "\n", encoding="utf-8")
    _configure(folder, DEFAULTS)
    for stage in ("filter", "generate"):
        child([CURATE, "run", "--stage", stage, "-c", folder / "pipelines.toml"], folder)


def _row(pair: tuple[str, str], model: str) -> dict[str, str]:
    return {"prompt": pair[0], "model": model, "answer": pair[1]}


def _configure(folder: Path, thresholds: dict[str, float]) -> None:
    written = "\n".join(f"{name} = {value}" for name, value in thresholds.items())
    (folder / "pipelines.toml").write_text(CONFIG.format(thresholds=written), encoding="utf-8")


def _merged(folder: Path, truth: list[Planted], thresholds: dict[str, float], half: int) -> tuple[Rates, int]:
    """How many pairs of each kind of a half merge, and links between pairs of different bases, of both halves."""
    _configure(folder, thresholds)
    config = folder / "pipelines.toml"
    child([CURATE, "run", "--stage", "dedup", "-c", config], folder)
    shown = child([CURATE, "show", "duplicates", "--limit", "1000000", "--json", "-c", config], folder)
    family = {}
    for one in truth:
        family[one.edited] = family[one.base] = one.base
    counted: dict[str, list[bool]] = {kind: [] for kind in (*SAME, *DIFFERENT)}
    fallen, foreign = set(), 0
    for row in json.loads(shown.output):
        pair, twin = (row["question"], row["answer"]), (row["twin_question"], row["twin_answer"])
        if family[pair] == family[twin]:
            fallen.add(pair)
        else:
            foreign += 1
    for one in truth:
        if one.half == half:
            counted[one.kind].append(one.edited in fallen or (one.base in fallen and one.kind != "paraphrase"))
    return {kind: (sum(found), len(found)) for kind, found in counted.items()}, foreign


def _share(rates: Rates, kinds: tuple[str, ...]) -> float:
    return sum(rates[kind][0] for kind in kinds) / max(1, sum(rates[kind][1] for kind in kinds))


if __name__ == "__main__":
    main("dedup_truth", measure)
