"""kill -9 between any two writes of each stage, run again: the tables are those of an undisturbed run."""

import shutil
from pathlib import Path

import pytest

from curate.config.reading import read_pipeline
from curate.pipeline import STAGES, run_stage
from tests.conftest import published_hashes
from tests.crashing import die_at, touches_of


def copied(config: Path, folder: Path) -> Path:
    shutil.copytree(config.parent, folder)
    return folder / config.name


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_at_any_touch_and_run_again_gives_the_same_bytes(stage, finished, tmp_path):
    before = tmp_path / "before"
    shutil.copytree(finished.folder, before)
    later = list(STAGES)[list(STAGES).index(stage) :]
    for name in later:
        shutil.rmtree(before / "runs" / "small" / name)
    if STAGES[stage][0].endswith("release") or "release" in later:
        shutil.rmtree(before / "runs" / "small" / "releases")
    config = before / "pipelines.toml"
    if stage == "train":  # test_train_killed.py kills within samples, too
        config.write_text(config.read_text().replace("samples = 2", "samples = 0"))
    undisturbed = copied(config, tmp_path / "undisturbed")
    touches = touches_of(undisturbed, stage)
    expected = published_hashes(tmp_path / "undisturbed" / "runs")
    assert touches > 10
    for touch in range(1, touches + 1):
        killed = copied(config, tmp_path / f"killed-{touch}")
        die_at(killed, stage, touch)
        run_stage(read_pipeline(killed), stage, lambda _: None, again=False)
        assert published_hashes(killed.parent / "runs") == expected, f"after a kill at touch {touch} of {touches}"
        shutil.rmtree(killed.parent)
