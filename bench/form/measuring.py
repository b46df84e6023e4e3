"""Measured child processes, and how a benchmark reports: ratios first, one JSON object as the last line."""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """One finished child process. `peak_bytes` is its largest resident memory, as the kernel counted it."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: str


@dataclass(frozen=True)
class Ratio:
    """A figure with the target that it must reach: at least it, or at most it."""

    value: float
    target: float
    is_least: bool
    meaning: str

    @property
    def holds(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.is_least else self.value <= self.target


def child(argv: Sequence[str | Path], folder: Path) -> Measured:
    """Run a command to its end. Keep the caller small: a child's peak cannot read below its parent's."""
    out = folder / "child.out"
    started = time.perf_counter()
    actions = [
        (os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, str(folder / "child.err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    pid = os.posix_spawn(str(argv[0]), [str(part) for part in argv], os.environ, file_actions=actions)
    _, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(map(str, argv))} failed:\n{(folder / 'child.err').read_text()[-2000:]}")
    return Measured(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, out.read_text())


def peer(name: str) -> Path | None:
    """The interpreter of a peer's environment, from CURATE_PEER_<NAME>; None, said on stderr, where there is none."""
    variable = f"CURATE_PEER_{name.upper()}"
    found = os.environ.get(variable)
    if found and Path(found).is_file():
        return Path(found)
    print(f"SKIPPED the peer {name}: {variable} names no interpreter with {name} in it", file=sys.stderr)
    return None


def machine() -> str:
    """Cores, memory, processor family, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {memory:.0f} GiB, {platform.machine()}, no GPU used, Python {platform.python_version()}"


def main(bench: str, measure: Callable[[Path, Callable[[int], int]], tuple[dict[str, Ratio], list[str]]]) -> None:
    """Parse --quick and --json, measure in a scratch folder, report; exit code 1 where a ratio misses its target.

    measure: gets the folder and a function that shrinks row counts under --quick (to 2 %).
    """
    parser = argparse.ArgumentParser(description=f"benchmark of {bench}")
    parser.add_argument("--quick", action="store_true", help="2 %% of the rows: shows that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    given = parser.parse_args()
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"curate-bench-{bench}-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        ratios, lines = measure(folder, lambda rows: rows // 50 if given.quick else rows)
    finally:
        shutil.rmtree(folder)
    _report(bench, ratios, lines, is_quick=given.quick, as_json=given.json)
    if not given.quick and not all(ratio.holds for ratio in ratios.values()):
        raise SystemExit(1)


def _report(bench: str, ratios: dict[str, Ratio], lines: list[str], *, is_quick: bool, as_json: bool) -> None:
    quick = " --quick (too few rows to judge by)" if is_quick else ""
    print(f"{bench}{quick}, {datetime.now(UTC).date()}, {machine()}\n")
    for name, ratio in ratios.items():
        bound = "at least" if ratio.is_least else "at most"
        holds = "holds" if ratio.holds else "MISSED"
        print(f"{name:<28} {ratio.value:8.2f}   {bound} {ratio.target:g}: {holds}   {ratio.meaning}")
    print("\n" + "\n".join(lines))
    if as_json:
        values: dict[str, Any] = {
            name: {"value": round(ratio.value, 3), "target": ratio.target, "holds": ratio.holds}
            for name, ratio in ratios.items()
        }
        print(json.dumps({"bench": bench, "machine": machine(), "ratios": values}))
