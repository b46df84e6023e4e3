"""Limit of bench/filter.py: read the imported table and write it again, shard by shard. Prints seconds."""

import json
import sys
import time
from pathlib import Path

import polars as pl


def main(folder: Path) -> None:
    """Read every shard of the imported prompts, write it beside, sync."""
    started = time.perf_counter()
    rows = 0
    for path in sorted(folder.glob("runs/bench/import/data-*/prompts-*.parquet")):
        frame = pl.read_parquet(path)
        frame.write_parquet(folder / "copy.parquet", compression="zstd", row_group_size=10_000)
        rows += frame.height
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
