"""Every benchmark runs, and ends in one JSON object; its figures are not judged here, these machines are noisy."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

BENCHMARKS = sorted((ROOT / "bench").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_runs_on_few_rows_and_reports_ratios(path):
    done = subprocess.run([sys.executable, path, "--quick", "--json"], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["bench"] == path.stem
    assert report["machine"]
    for ratio in report["ratios"].values():
        assert ratio["value"] > 0
        assert set(ratio) == {"value", "target", "holds"}


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_its_published_figures_name_date_machine_and_command(path):
    text = (ROOT / "bench" / "results" / f"{path.stem}.md").read_text(encoding="utf-8")
    assert "Date: " in text
    assert "Machine: " in text
    assert f"bench/{path.name}" in text
