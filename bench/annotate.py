"""Annotate: what the gates on corrections find of planted faults, what they drop of real ones, and at what CPU time."""

import difflib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from form.faults import GATE_OF, REAL, planted, real_corrections, told_by_all_recipes
from form.measuring import Ratio, main
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist

from curate.config.table import Bounds
from curate.gates.bounds import default_bounds
from curate.gates.registry import all_gates
from curate.gates.scoring import score
from curate.rules.judging import judge

CONTEXT = told_by_all_recipes()
FEWEST = 300
COPIES = 10
DIFFLIB_ROWS = 40
SURE = ("empty", "mark", "instruction")
STRICT = {"ending.cut": Bounds(max=0)}


def measure(_: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """All figures; without the real corrections there is nothing to plant faults in."""
    if not REAL.is_dir():
        raise SystemExit(f"SKIPPED: the real corrections do not lie at {REAL}")
    rows = real_corrections()
    changed = rows.filter(pl.col("answer") != pl.col("correction"))
    few = changed.gather_every(max(1, changed.height // max(FEWEST, shrunk(changed.height))))
    false, kept = _dropped(rows)
    lines = [
        f"{rows.height:,} real corrections, {rows.height - changed.height} of them copies; dropped at the defaults:"
    ]
    lines += [f"  {name:<20} {count:>5}  ({count / rows.height:.2%})" for name, count in false.items()]
    lines += [f"  any gate             {rows.height - kept:>5}  ({1 - kept / rows.height:.2%})", "planted faults:"]
    found = {}
    for kind, gate in GATE_OF.items():
        faulty = planted(kind, few, CONTEXT.instructions)
        found[kind], by_any = _found(faulty, gate)
        lines.append(f"  {kind:<20} {found[kind]:.3f} of {faulty.height:,} found by {gate}, {by_any:.3f} by any gate")
    cut = score(planted("cut", few, ()), {"ending.cut": all_gates()["ending.cut"]}, CONTEXT)
    found["cut strictly"] = judge(cut, STRICT, "annotate").height / cut.height
    strictly = judge(score(rows, {"ending.cut": all_gates()["ending.cut"]}, CONTEXT), STRICT, "annotate").height
    lines.append(
        f"  cut, at max = 0      {found['cut strictly']:.3f}; {strictly / rows.height:.2%} of the real ones dropped"
    )
    faster, share, more = _speed(rows, changed, shrunk)
    return {
        "real corrections kept": Ratio(kept / rows.height, 0.95, True, "share, all gates together"),
        "sure faults found": Ratio(
            sum(found[kind] for kind in SURE) / len(SURE), 0.99, True, "share: empty, marks, instructions"
        ),
        "refusals found": Ratio(found["needless refusal"], 0.7, True, "share; sixteen wordings"),
        "remarks found": Ratio(found["remark"], 0.85, True, "share; 24 wordings"),
        "languages found": Ratio(found["other language"], 0.8, True, "share; eight languages"),
        "personal data found": Ratio(found["personal data"], 0.85, True, "share; twelve forms"),
        "obeyed orders found": Ratio(found["obeyed order"], 0.75, True, "share; eight orders, one without a sign"),
        "other questions found": Ratio(found["other question"], 0.8, True, "share; the correction of another row"),
        "afresh found": Ratio(found["answered afresh"], 0.04, True, "share; another model's answer: hard to tell"),
        "cuts found": Ratio(found["cut"], 0.12, True, "share, certain ones; the real ones are free rewritings"),
        "cuts found strictly": Ratio(found["cut strictly"], 0.4, True, "share, at max = 0"),
        "gates / difflib": Ratio(faster, 10.0, True, "rows a CPU-s, all gates over difflib's exact ratio alone"),
        "gates / bare Levenshtein": Ratio(share, 6.0, False, "CPU time over rapidfuzz on the same texts alone"),
    }, lines + more


def _dropped(rows: pl.DataFrame) -> tuple[dict[str, int], int]:
    """Rows that each gate drops, and how many no gate drops."""
    verdicts = judge(score(rows, all_gates(), CONTEXT), default_bounds(), "annotate")
    counts = dict(verdicts.group_by("rule").len().iter_rows())
    return {name: counts.get(name, 0) for name in all_gates()}, rows.height - verdicts["row_id"].n_unique()


def _found(faulty: pl.DataFrame, gate: str) -> tuple[float, float]:
    """Share of the rows that the gate drops, and that any gate drops."""
    verdicts = judge(score(faulty, all_gates(), CONTEXT), default_bounds(), "annotate")
    by_gate = verdicts.filter(pl.col("rule") == gate)["row_id"].n_unique()
    return by_gate / faulty.height, verdicts["row_id"].n_unique() / faulty.height


def _speed(rows: pl.DataFrame, changed: pl.DataFrame, shrunk: Callable[[int], int]) -> tuple[float, float, list[str]]:
    """Rows a CPU-s over difflib's, CPU time over bare Levenshtein's, and lines; libraries are loaded by then."""
    many = pl.concat([rows] * max(1, shrunk(COPIES)))
    spent_s = _cpu_s(lambda: score(many, all_gates(), CONTEXT))
    each = {
        name: _cpu_s(lambda gate=gate: score(many, {gate.name: gate}, CONTEXT)) for name, gate in all_gates().items()
    }
    nothing_s = _cpu_s(lambda: score(many, {}, CONTEXT))
    answers, corrections = (changed[name].to_list() * (many.height // rows.height) for name in ("answer", "correction"))
    bare_s = _cpu_s(
        lambda: cpdist(answers, corrections, scorer=Levenshtein.normalized_distance, dtype=np.float64, workers=-1)
    )
    some = changed.gather_every(max(1, changed.height // max(5, shrunk(DIFFLIB_ROWS))))
    plain_s, guessing_s = (
        _cpu_s(lambda is_guess=is_guess: _by_difflib(some, is_guess=is_guess)) for is_guess in (False, True)
    )
    mine, theirs = many.height / spent_s, some.height / plain_s
    lines = [
        f"all gates: {mine:,.0f} rows a CPU-s ({spent_s / many.height * 1e6:,.0f} µs a row) on {many.height:,} rows of "
        f"{many['answer'].str.len_chars().mean():,.0f} + {many['correction'].str.len_chars().mean():,.0f} characters",
        f"bare Levenshtein (rapidfuzz cpdist): {len(answers) / bare_s:,.0f} pairs a CPU-s; copies are not among them",
        f"difflib, ratio alone, every letter compared: {theirs:,.1f} pairs a CPU-s ({some.height} pairs)",
        f"difflib with autojunk, blind to every letter above 1 %: {some.height / guessing_s:,.0f} pairs a CPU-s",
        f"one gate alone, µs of CPU a row beyond {nothing_s / many.height * 1e6:,.0f} µs that all share:",
    ]
    lines += [f"  {name:<20} {(one - nothing_s) / many.height * 1e6:>6,.0f}" for name, one in each.items()]
    return mine / theirs, spent_s / bare_s, lines


def _by_difflib(rows: pl.DataFrame, *, is_guess: bool) -> list[float]:
    return [
        difflib.SequenceMatcher(None, answer, correction, autojunk=is_guess).ratio()
        for answer, correction in rows.select("answer", "correction").iter_rows()
    ]


def _cpu_s(work: Callable[[], object]) -> float:
    """Seconds of all threads of this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main("annotate", measure)
