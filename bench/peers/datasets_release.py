"""Peer of bench/release.py: the datasets library joins pairs and corrections, and writes Parquet and JSON lines."""

import hashlib
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import datasets
import polars as pl


def main(folder: Path) -> None:
    """Join by polars (datasets has no join), then write each split with datasets and hash the files."""
    started = time.perf_counter()
    pairs = pl.read_parquet(folder / "dedup" / "data-*" / "pairs-*.parquet")
    corrections = pl.read_parquet(folder / "annotate" / "data-*" / "corrections-*.parquet")
    joined = pairs.join(corrections, on="pair_id", maintain_order="left")
    parts = {"train": joined[: joined.height * 9 // 10], "test": joined[joined.height * 9 // 10 :]}
    splits = {name: datasets.Dataset(part.to_arrow()) for name, part in parts.items()}
    target = folder / "theirs"
    for name, split in splits.items():
        split.to_parquet(str(target / f"{name}.parquet"))
        split.to_json(str(target / f"{name}.jsonl"))
    for path in target.iterdir():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    print(json.dumps({"seconds": time.perf_counter() - started, "version": version("datasets")}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
