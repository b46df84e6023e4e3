"""Dedup: the exact join of embeddings beside the machine's limit and other tools, embedding beside a bare `encode`."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from form.measuring import MIB, Measured, Ratio, child, main, peer
from form.prompts import texts

HERE = Path(__file__).parent
JOINS = HERE / "peers" / "dedup_joins.py"
THRESHOLD = 0.9
SIZES = (20_000, 50_000)
GROWTH = (10_000, 100_000)
EMBEDDED = 1_500

Joined = tuple[Measured, dict[str, float | str]]


def measure(folder: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """All figures; every join in a process of its own, with one thread."""
    os.environ["PYTHONPATH"] = str(HERE)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ.pop("OPENBLAS_CORETYPE", None)
    os.environ.pop("OPENBLAS_L2_SIZE", None)
    vectors = folder / "vectors.npy"
    child([sys.executable, HERE / "form" / "vectors.py", vectors, str(shrunk(GROWTH[1]))], folder)
    ratios, lines = {}, []
    is_quick = shrunk(1_000) < 1_000
    for rows in map(shrunk, SIZES[:1] if is_quick else SIZES):
        found = _joined(folder, vectors, rows)
        for name, (done, told) in found.items():
            lines.append(
                f"{rows:>7,} rows, {name:<12} {told['cpu_s']:8.2f} CPU-s, keeps {told['kept']:,} ({told['version']}), "
                f"peak {done.peak_bytes / MIB:,.0f} MiB"
            )
        assert found["ours"][1]["kept"] == found["ours_faiss"][1]["kept"], "the two backends keep different rows"
        ours = float(found["ours"][1]["cpu_s"])
        for name, target in (
            ("limit", 1.0),
            ("ours_faiss", 1.0),
            ("faiss_range", 0.5),
            ("community", 0.5),
            ("semhash", 0.5),
        ):
            if name in found:
                ratios[f"join / {name}, {rows // 1000}K"] = Ratio(
                    ours / float(found[name][1]["cpu_s"]), target, False, "CPU seconds of our join over theirs"
                )
    few, many = (_join(folder, sys.executable, "ours", vectors, shrunk(rows)) for rows in GROWTH)
    added = (many[0].peak_bytes - few[0].peak_bytes) / (shrunk(GROWTH[1]) - shrunk(GROWTH[0]))
    ratios["memory a row, vectors"] = Ratio(
        max(added, 1.0) / (384 * 4), 2.0, False, "peak memory by added row, over the row itself: 384 float32"
    )
    growth = float(many[1]["cpu_s"]) / float(few[1]["cpu_s"])
    lines.append(
        f"from {shrunk(GROWTH[0]):,} to {shrunk(GROWTH[1]):,} rows: {few[1]['cpu_s']:.2f} to "
        f"{many[1]['cpu_s']:.2f} CPU-s ({growth:.0f} times; products grow 100 times), "
        f"peak {few[0].peak_bytes / MIB:,.0f} to {many[0].peak_bytes / MIB:,.0f} MiB"
    )
    told, said = _encoding(folder, shrunk)
    return ratios | told, [*lines, *said]


def _joined(folder: Path, vectors: Path, rows: int) -> dict[str, Joined]:
    found = {
        name: _join(folder, sys.executable, name, vectors, rows)
        for name in ("limit", "ours", "ours_faiss", "faiss_range", "community")
    }
    if (python := peer("semhash")) is not None:
        found["semhash"] = _join(folder, python, "semhash", vectors, rows)
    return found


def _join(folder: Path, python: str | Path, method: str, vectors: Path, rows: int) -> Joined:
    done = child([python, JOINS, method, vectors, str(rows), str(THRESHOLD)], folder)
    return done, json.loads(done.output.splitlines()[-1])


def _encoding(folder: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """Texts of at most 1,000 characters: both read them whole, so both embed the same tokens."""
    known = sorted({text for text in texts() if len(text) <= 1000}, key=hash_free)
    path = folder / "texts.json"
    path.write_text(json.dumps(known[: max(50, shrunk(EMBEDDED))]), encoding="utf-8")
    script = HERE / "peers" / "dedup_encode.py"
    ours, bare = (
        json.loads(child([sys.executable, script, method, path], folder).output.splitlines()[-1])
        for method in ("ours", "bare")
    )
    lines = [
        f"embedding {one['texts']:,} texts, {one['tokens'] / one['texts']:.0f} tokens each, {name}: "
        f"{one['texts'] / one['wall_s']:.0f} texts/s, {one['texts'] / one['cpu_s']:.0f} a CPU-s"
        for name, one in (("ours", ours), ("bare encode", bare))
    ]
    return {
        "texts/s / bare encode": Ratio(bare["wall_s"] / ours["wall_s"], 1.0, True, "sentence-transformers' own encode")
    }, lines


def hash_free(text: str) -> tuple[int, str]:
    """An order in which lengths are mixed, the same on every machine."""
    return sum(map(ord, text)) % 997, text


if __name__ == "__main__":
    main("dedup", measure)
