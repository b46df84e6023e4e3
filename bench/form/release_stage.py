"""Runs the release stage on tables that are there and prints its seconds. Usage: python release_stage.py CONFIG"""

import json
import sys
import time
from pathlib import Path

from curate.config.reading import read_pipeline
from curate.progress import Progress
from curate.stages import release
from curate.store.run import RunStore
from schemas import tables

assert tables.TABLES  # loaded before the clock starts, as the peer loads its libraries


def main(config: Path) -> None:
    """The stage as the pipeline calls it."""
    pipeline = read_pipeline(config)
    store = RunStore(pipeline.workdir)
    started = time.perf_counter()
    release.run(pipeline, store, release.key(pipeline, store), Progress("release"))
    print(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
