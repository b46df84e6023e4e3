"""Release: rows a second and peak memory at 100K and 1M triples, beside the `datasets` library and the disk."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from form.measuring import MIB, Measured, Ratio, child, main

HERE = Path(__file__).parent


def at(folder: Path, rows: int) -> tuple[Measured, float]:
    """The release stage on `rows` corrections: the process, and the stage's own seconds."""
    folder.mkdir()
    (folder / "pipelines.toml").write_text('[pipelines.bench]\nworkdir = "."\n')
    child([sys.executable, HERE / "form" / "corrections.py", folder, str(rows)], folder)
    done = child([sys.executable, HERE / "form" / "release_stage.py", folder / "pipelines.toml"], folder)
    return done, json.loads(done.output)["seconds"]


def measure(folder: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """All figures."""
    few, many = shrunk(100_000), shrunk(1_000_000)
    found = {rows: at(folder / str(rows), rows) for rows in (few, many)}
    lines = []
    for rows, (done, seconds) in found.items():
        release = folder / str(rows) / "releases" / "1.0.0"
        size = sum(path.stat().st_size for path in release.rglob("*") if path.is_file()) / MIB
        lines.append(
            f"{rows:>9,} triples (release of {size:,.0f} MiB): {rows / seconds:>9,.0f} rows/s, "
            f"peak {done.peak_bytes / MIB:,.0f} MiB"
        )
    few_folder = folder / str(few)
    theirs = child([sys.executable, HERE / "peers" / "datasets_release.py", few_folder], few_folder)
    written = json.loads(theirs.output.splitlines()[-1])
    lines.append(
        f"datasets {written['version']}, the same {few:,} rows to Parquet and JSON lines, with SHA-256 (no checks, no "
        f"JSON array, no content root): {few / written['seconds']:,.0f} rows/s, peak {theirs.peak_bytes / MIB:,.0f} MiB"
    )
    copied = json.loads(child([sys.executable, HERE / "peers" / "copy_release.py", few_folder], few_folder).output)
    lines.append(f"limit: the finished release copied, synced and hashed in {copied['seconds']:.2f} s")
    lines.append(f"load average at the end: {os.getloadavg()[0]:.1f}")
    return {
        "memory 1M / 100K": Ratio(
            found[many][0].peak_bytes / found[few][0].peak_bytes, 1.25, False, "peak memory; 16 bytes a row are held"
        ),
        "release / datasets": Ratio(
            written["seconds"] / found[few][1], 0.4, True, "rows a second at 100K; datasets does about half the work"
        ),
        "release / limit": Ratio(found[few][1] / copied["seconds"], 15.0, False, "wall time over copying the result"),
    }, lines


if __name__ == "__main__":
    main("release", measure)
