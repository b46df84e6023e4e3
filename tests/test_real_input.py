"""The whole pipeline on real prompts, recorded answers of twelve LLMs and recorded Aligner-2B corrections."""

import gzip
import json
import shutil

import pytest

from curate.config.reading import read_pipeline
from curate.pipeline import run_all
from curate.report import status
from curate.store.releases import verify
from curate.store.run import RunStore
from tests.conftest import REAL_DATA, ROOT, needs_real_data

SOURCES = 10


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    needs_real_data()
    folder = tmp_path_factory.mktemp("real") / "checkout" / "examples" / "real-input"
    shutil.copytree(ROOT / "examples" / "real-input", folder)
    (folder.parent.parent.parent / "shared").symlink_to(REAL_DATA.parent)
    pipeline = read_pipeline(folder / "pipelines.toml")
    assert run_all(pipeline, lambda _: None)
    return pipeline


@pytest.mark.real_data
def test_real_prompts_become_a_release_and_a_trained_aligner(real):
    stages = {stage["stage"]: stage for stage in status(real)["stages"]}
    for stage in stages.values():
        rows = stage["accounting"]
        assert rows["rows_in"] == rows["kept"] + rows["dropped"] + rows["failed"] + rows["waiting"] > 0
    assert set(stages["generate"]["failed_by"]) == {"no_recorded_answer"}
    assert set(stages["annotate"]["failed_by"]) == {"no_recorded_correction"}
    assert stages["generate"]["accounting"]["kept"] > 2000
    assert stages["release"]["accounting"]["kept"] > 500
    assert verify(real.workdir / "releases" / "1.0.0") == []
    assert len(RunStore(real.workdir).table("filter", "prompts").collect()["source"].unique()) >= SOURCES


@pytest.mark.real_data
def test_real_corrections_are_released_letter_by_letter(real):
    recorded = set()
    for path in sorted((REAL_DATA / "corrections").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            recorded |= {json.loads(line)["correction"].strip() for line in file}
    released = RunStore(real.workdir).table("release", "triples").collect()["correction"]
    assert {text.strip() for text in released} <= recorded
