"""The same code in processes with other hash seeds and thread counts: what it prints must be the same."""

import os
import subprocess
import sys

from tests.conftest import ROOT


def printed_elsewhere(code: str) -> set[str]:
    """All different outputs of some code."""
    return {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": threads},
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed, threads in (("1", "1"), ("77", "2"))
    }
