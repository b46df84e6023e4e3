"""Generate: throughput, CPU a call, quota, memory and resume against a server that only waits, beside its peers."""

import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from form.asking import Asked, Calls, Prompts, answering, configure, dry_run, stage
from form.measuring import MIB, Measured, Ratio, child, main, peer

HERE = Path(__file__).parent
LATENCY_S = 0.2
WIDTHS = (100, 256)
QUOTA_PER_MINUTE = 6000
FEWEST = 200
"""Calls of a figure under --quick: fewer would not fill the width."""

STARTED_WITH = 10
"""Prompts of a run of which only start and end are of interest."""

LIBRARIES = "import aiohttp, msgspec, polars, pydantic, typer"
"""What a run has loaded when it sends its first call; numpy, dataframely and SDKs follow where they are needed."""

Figures = tuple[dict[str, Ratio], list[str]]


@dataclass(frozen=True)
class Sizes:
    """Calls and prompts of the figures, how often a short run is repeated, and calls in flight."""

    calls: int
    quota_calls: int
    few: int
    many: int
    million: int
    repeats: int
    widths: tuple[int, ...]


def measure(folder: Path, shrunk: Callable[[int], int]) -> Figures:
    """All figures."""
    is_quick = shrunk(1_000) < 1_000
    sizes = Sizes(
        calls=max(FEWEST, shrunk(2_000)),
        quota_calls=max(FEWEST, shrunk(1_500)),
        few=max(FEWEST, shrunk(10_000)),
        many=1_000 if is_quick else 200_000,
        million=shrunk(1_000_000),
        repeats=1 if is_quick else 3,
        widths=WIDTHS[:1] if is_quick else WIDTHS,
    )
    prompts = Prompts(folder)
    asked = {width: _waited(prompts, sizes.calls, width) for width in sizes.widths}
    parts = (
        _throughput(asked),
        _start_and_cpu(folder, prompts, sizes, asked),
        _quotas(prompts, sizes),
        _memory_and_resume(prompts, sizes),
        _peers(prompts, sizes, asked),
    )
    ratios = {name: ratio for found, _ in parts for name, ratio in found.items()}
    lines = [line for _, said in parts for line in said]
    return ratios, [*lines, f"load average at the end: {os.getloadavg()[0]:.1f}"]


def share_of_ideal(calls: Calls, width: int) -> float:
    """Throughput after the first call, over that of `width` calls which always wait for the server.

    A run may try one call alone first: its wait is not counted. One that does not is timed from its second arrival.
    """
    first_reply_s = min(replied for _, replied in calls.answered)
    begun_s = min(first_reply_s, calls.seen[1][0])
    ended_s = max(replied for _, replied in calls.answered)
    return math.ceil((len(calls.answered) - 1) / width) * LATENCY_S / (ended_s - begun_s)


def _waited(prompts: Prompts, rows: int, width: int, **server: int) -> tuple[Asked, Calls]:
    """One run of the stage against a server with the usual latency, and perhaps a quota; every prompt is answered."""
    folder = prompts.fresh(rows)
    pace = f"requests_per_minute = {server.pop('pace')}" if "pace" in server else ""
    with answering(LATENCY_S, **server) as served:
        configure(folder, served.url, width, pace)
        done = stage(folder, "generate")
        calls = served.calls()
    shutil.rmtree(folder)
    assert done.kept == len(calls.answered) == rows, f"{done.kept} answers and {len(calls.answered)} calls for {rows}"
    return done, calls


def _throughput(asked: dict[int, tuple[Asked, Calls]]) -> Figures:
    ratios, lines = {}, []
    for width, (done, calls) in asked.items():
        rows = len(calls.answered)
        ratios[f"{width} in flight / ideal"] = Ratio(
            share_of_ideal(calls, width), 0.9, True, f"throughput at {LATENCY_S:g} s a call, after the first call"
        )
        lines.append(
            f"{rows:,} calls, {width} in flight: {calls.seconds:.2f} s from first arrival to last reply, "
            f"{rows / calls.seconds:,.0f} calls/s; the process {done.process.wall_s:.1f} s, "
            f"{done.process.cpu_s:.1f} CPU-s, peak {done.process.peak_bytes / MIB:,.0f} MiB"
        )
    return ratios, lines


def _start_and_cpu(folder: Path, prompts: Prompts, sizes: Sizes, asked: dict[int, tuple[Asked, Calls]]) -> Figures:
    """The least of some short runs: what start and end of a run take whatever the number of prompts."""
    short, imported_s = [], []
    for _ in range(sizes.repeats):
        short.append(_waited(prompts, STARTED_WITH, WIDTHS[0]))
        imported_s.append(child([sys.executable, "-c", LIBRARIES], folder).wall_s)
    first_s, import_s = min(calls.first_s - done.started_s for done, calls in short), min(imported_s)
    least_cpu_s = min(done.process.cpu_s for done, _ in short)
    added = sizes.calls - STARTED_WITH
    per_call_ms = {
        width: _positive(done.process.cpu_s - least_cpu_s) / added * 1000 for width, (done, _) in asked.items()
    }
    shown = ", ".join(f"{ms:.2f} at {width} in flight" for width, ms in per_call_ms.items())
    return {
        "first call, s": Ratio(first_s, 1.0, False, "from the start of the process"),
        "first call / imports": Ratio(
            first_s / import_s, 1.4, False, "process start to first call, over a Python that only imports the libraries"
        ),
        "CPU a call, ms": Ratio(
            max(per_call_ms.values()),
            1.5,
            False,
            f"CPU over that of {STARTED_WITH} prompts, by added prompt; the worse",
        ),
    }, [
        f"first call {first_s:.2f} s after the process started; the same libraries are imported in {import_s:.2f} s",
        f"CPU ms a call, from plan to published answer: {shown}",
    ]


def _quotas(prompts: Prompts, sizes: Sizes) -> Figures:
    """A server that holds to a quota and says so in its headers: first nothing is configured, then the pace is."""
    ratios, lines = {}, []
    for name, pace in (("learned", {}), ("configured", {"pace": QUOTA_PER_MINUTE})):
        rows = sizes.quota_calls
        _, calls = _waited(prompts, rows, WIDTHS[1], requests_per_minute=QUOTA_PER_MINUTE, **pace)
        seconds = max(arrived for arrived, _ in calls.answered) - calls.first_s
        rejected = len(calls.seen) - rows
        ratios[f"quota used, {name}"] = Ratio(
            (rows - 1) / (QUOTA_PER_MINUTE / 60) / seconds, 0.95, True, "first to last call; a burst may lift it over 1"
        )
        ratios[f"not rejected, {name}"] = Ratio(
            rows / len(calls.seen), 0.99, True, "calls that the quota let through, of all that were sent"
        )
        lines.append(f"{rows:,} calls, {QUOTA_PER_MINUTE:,} a minute, {name}: {seconds:.1f} s, {rejected:,} rejected")
    return ratios, lines


def _memory_and_resume(prompts: Prompts, sizes: Sizes) -> Figures:
    """Two sizes against a server that answers at once; then, the tables gone, how long until nothing is to be sent."""
    peaks, resumed_s, lines = {}, {}, []
    for rows in (sizes.few, sizes.many):
        folder = prompts.fresh(rows)
        with answering(0) as served:
            configure(folder, served.url, WIDTHS[0])
            done = stage(folder, "generate")
            assert done.kept == served.answered() == rows
        shutil.rmtree(folder / "run" / "generate")
        resumed_s[rows], to_send = min(dry_run(folder) for _ in range(sizes.repeats))
        assert to_send == 0, f"{to_send} of {rows} calls would be paid twice"
        peaks[rows] = done.process.peak_bytes
        ledger = (folder / "run" / "ledger.sqlite").stat().st_size
        lines.append(
            f"{rows:>9,} prompts, no latency, {WIDTHS[0]} in flight: {done.seconds:,.1f} s, "
            f"{rows / done.seconds:,.0f} calls/s, {done.process.cpu_s / rows * 1000:.2f} CPU-ms a call with start-up, "
            f"peak {peaks[rows] / MIB:,.0f} MiB, ledger {ledger / MIB:,.0f} MiB; "
            f"resume knows after {resumed_s[rows]:.2f} s that nothing is to be sent, start-up included"
        )
        shutil.rmtree(folder)
    per_row_s = _positive(resumed_s[sizes.many] - resumed_s[sizes.few]) / (sizes.many - sizes.few)
    return {
        "memory 200K / 10K": Ratio(peaks[sizes.many] / peaks[sizes.few], 1.25, False, "peak memory; flat"),
        "resume of 200K, s": Ratio(
            per_row_s * sizes.many, 2.0, False, "plan less ledger by --dry-run, by the difference of two sizes"
        ),
        "resume of 1M, s": Ratio(per_row_s * sizes.million, 5.0, False, "the same, extrapolated"),
    }, lines


def _peers(prompts: Prompts, sizes: Sizes, asked: dict[int, tuple[Asked, Calls]]) -> Figures:
    """The same prompts, latency and width through other tools; whole processes, as ours."""
    pythons = {
        "aiohttp": Path(sys.executable),
        "sdk": Path(sys.executable),
        "distilabel": peer("distilabel"),
        "curator": peer("curator"),
    }
    named = {"sdk": "openai SDK", "aiohttp": "limit: bare aiohttp, keeps nothing"}
    most_wall = {"sdk": 0.75, "distilabel": 0.4, "curator": 0.5}
    ratios, lines = {}, []
    folder = prompts.fresh(sizes.calls)
    for width in sizes.widths:
        ours = asked[width][0].process
        for name, python in pythons.items():
            if python is None:
                continue
            theirs, calls, version = _peer(python, name, folder, width, sizes.calls)
            lines.append(
                f"{named.get(name, name)} {version}, {width} in flight: process {theirs.wall_s:.1f} s, "
                f"{theirs.cpu_s:.1f} CPU-s, peak {theirs.peak_bytes / MIB:,.0f} MiB; calls {calls.seconds:.2f} s, "
                f"{share_of_ideal(calls, width):.2f} of the ideal; "
                f"ours / theirs: wall {ours.wall_s / theirs.wall_s:.2f}, CPU {ours.cpu_s / theirs.cpu_s:.2f}"
            )
            if name == "aiohttp":
                ratios[f"{width} in flight / limit"] = Ratio(
                    share_of_ideal(asked[width][1], width) / share_of_ideal(calls, width),
                    0.9,
                    True,
                    "throughput over that of bare aiohttp, which keeps nothing",
                )
            if name in most_wall:
                ratios[f"wall / {name}, {width}"] = Ratio(
                    ours.wall_s / theirs.wall_s, most_wall[name], False, "whole process, start-up included"
                )
                ratios[f"CPU / {name}, {width}"] = Ratio(
                    ours.cpu_s / theirs.cpu_s, 1.0, False, "whole process, start-up included"
                )
    return ratios, lines


def _peer(python: Path, name: str, folder: Path, width: int, rows: int) -> tuple[Measured, Calls, str]:
    with answering(LATENCY_S) as served:
        script = HERE / "peers" / f"{name}_generate.py"
        done = child([python, script, served.url, folder / "prompts.jsonl", str(width)], folder)
        calls = served.calls()
    said = json.loads(done.output.splitlines()[-1])
    assert said["rows"] == rows, f"{name} answered {said['rows']} of {rows} prompts"
    return done, calls, said["version"]


def _positive(value: float) -> float:
    """A difference of two noisy times, kept off zero: with few rows it drowns in the noise."""
    return max(value, 0.01)


if __name__ == "__main__":
    main("generate", measure)
