"""Filter: rows a second and peak memory at 100K and 1M prompts, beside plain Python, datatrove and the disk."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from form.measuring import MIB, Measured, Ratio, child, main, peer

HERE = Path(__file__).parent
CURATE = Path(sys.executable).parent / "curate"
PEER_ROWS = 10_000

CONFIG = """
[[pipelines.bench.sources]]
path = "prompts.jsonl"
field = "prompt"
license = "MIT"
"""


def stage(folder: Path, name: str) -> tuple[Measured, float]:
    """One stage through the command line: the process, and the stage's own seconds (start-up not counted)."""
    done = child([CURATE, "run", "--stage", name, "-c", folder / "pipelines.toml", "--json"], folder)
    last = json.loads(done.output)["stages"][-1]
    return done, last["seconds"]


def at(folder: Path, rows: int) -> tuple[Measured, float, Measured, float]:
    """Import and filter of `rows` prompts."""
    folder.mkdir()
    child([sys.executable, HERE / "form" / "prompts.py", folder / "prompts.jsonl", str(rows)], folder)
    (folder / "pipelines.toml").write_text(CONFIG)
    return *stage(folder, "import"), *stage(folder, "filter")


def measure(folder: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """All figures."""
    few, many = shrunk(100_000), shrunk(1_000_000)
    lines = []
    found = {rows: at(folder / str(rows), rows) for rows in (few, many)}
    for rows, (reading, reading_s, judging, judging_s) in found.items():
        size = (folder / str(rows) / "prompts.jsonl").stat().st_size / MIB
        lines.append(
            f"{rows:>9,} prompts ({size:,.0f} MiB): import {rows / reading_s:>9,.0f} rows/s, peak "
            f"{reading.peak_bytes / MIB:,.0f} MiB; filter {rows / judging_s:>9,.0f} rows/s "
            f"({rows / judging.cpu_s:,.0f} a CPU-s, start-up included), peak {judging.peak_bytes / MIB:,.0f} MiB"
        )
    peer_rows = min(PEER_ROWS, many)
    per_cpu_s = many / found[many][2].cpu_s
    source = folder / str(many) / "prompts.jsonl"
    ratios = {
        "import memory 1M / 100K": Ratio(
            found[many][0].peak_bytes / found[few][0].peak_bytes,
            1.5,
            False,
            "peak memory; 16 bytes a prompt id are held",
        ),
        "filter memory 1M / 100K": Ratio(
            found[many][2].peak_bytes / found[few][2].peak_bytes, 1.25, False, "peak memory; flat"
        ),
    }
    passing = json.loads(child([sys.executable, HERE / "peers" / "pass_through.py", folder / str(many)], folder).output)
    ratios["filter / limit"] = Ratio(
        found[many][3] / passing["seconds"],
        12.0,
        False,
        "wall time over reading and writing the same tables with no rule",
    )
    lines.append(f"limit: the table read and written by polars in {passing['seconds']:.2f} s")
    plain = json.loads(
        child([sys.executable, HERE / "peers" / "plain_filter.py", source, str(peer_rows)], folder).output
    )
    plain_per_s = plain["rows"] / plain["seconds"]
    ratios["filter / plain Python"] = Ratio(
        per_cpu_s / plain_per_s, 5.0, True, "rows a CPU-s over the same rules in a loop"
    )
    lines.append(f"plain Python, the same rules: {plain_per_s:,.0f} rows a CPU-s")
    if (python := peer("datatrove")) is not None:
        made = child([python, HERE / "peers" / "datatrove_filter.py", source, str(peer_rows)], folder)
        theirs = json.loads(made.output.splitlines()[-1])
        theirs_per_s = theirs["rows"] / theirs["seconds"]
        ratios["filter / datatrove"] = Ratio(per_cpu_s / theirs_per_s, 50.0, True, "rows a CPU-s; its rules are others")
        lines.append(f"datatrove {theirs['version']}, Gopher and C4 quality: {theirs_per_s:,.0f} rows a CPU-s")
    lines.append(f"load average at the end: {os.getloadavg()[0]:.1f}")
    return ratios, lines


if __name__ == "__main__":
    main("filter", measure)
