"""The pipeline as a whole: rows that add up, bytes that repeat, stages that know when they are stale."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curate.config.reading import read_pipeline
from curate.pipeline import STAGES, run_all, run_stage, survey
from curate.report import status
from curate.store.run import RunStore
from schemas.errors import ReleaseError, StageNotReadyError, StoreError, WaitingError
from tests.conftest import published_hashes


def states(pipeline):
    return {one.name: one.state for one in survey(pipeline)}


def test_rows_in_are_kept_dropped_failed_or_waiting_in_every_stage(finished):
    for stage in status(finished)["stages"]:
        rows = stage["accounting"]
        assert rows["rows_in"] == rows["kept"] + rows["dropped"] + rows["failed"] + rows["waiting"] > 0, stage


def test_what_is_lost_has_a_reason(finished):
    by_stage = {stage["stage"]: stage for stage in status(finished)["stages"]}
    assert by_stage["import"]["failed_by"] == {"invalid_json": 1, "missing_field": 1}
    assert by_stage["import"]["dropped_by"] == {"import.same_prompt": 1}
    assert by_stage["filter"]["dropped_by"] == {"length.characters": 1}
    assert by_stage["generate"]["failed_by"] == {"no_recorded_answer": 1}
    assert by_stage["dedup"]["dropped_by"] == {"dedup.exact": 15}
    assert by_stage["annotate"]["failed_by"] == {"no_recorded_correction": 1}


def test_a_done_pipeline_does_nothing(small):
    pipeline = read_pipeline(small)
    run_all(pipeline, lambda _: None)
    before = published_hashes(pipeline.workdir)
    ran = []
    run_all(pipeline, lambda outcome: ran.append(outcome.ran))
    assert ran == [False] * len(STAGES)
    assert published_hashes(pipeline.workdir) == before


def test_the_same_run_elsewhere_gives_the_same_bytes_under_other_threads_and_hash_seeds(finished, small):
    code = f"from curate.cli import main; import sys; sys.argv = ['curate', 'run', '-c', {str(small)!r}]; main()"
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    assert published_hashes(small.parent / "runs") == published_hashes(finished.folder / "runs")


def test_a_new_threshold_makes_filter_stale_and_what_follows(small):
    pipeline = read_pipeline(small)
    run_stage(pipeline, "filter", lambda _: None, again=False)
    small.write_text(small.read_text() + '[pipelines.small.filter.thresholds]\n"length.characters" = { min = 2 }\n')
    changed = read_pipeline(small)
    assert states(changed)["import"] == "done"
    assert states(changed)["filter"] == "stale"
    run_stage(changed, "filter", lambda _: None, again=False)
    assert RunStore(changed.workdir).published("filter").accounting.dropped == 0


def test_a_changed_source_file_makes_import_stale(small):
    pipeline = read_pipeline(small)
    run_stage(pipeline, "filter", lambda _: None, again=False)
    with (small.parent / "prompts.jsonl").open("a") as file:
        file.write(json.dumps({"instruction": "What is the tallest tree?"}) + "\n")
    assert states(pipeline)["import"] == "stale"
    run_stage(pipeline, "filter", lambda _: None, again=False)
    assert RunStore(pipeline.workdir).published("filter").accounting.kept == 25


def test_a_file_that_only_looks_newer_changes_nothing(small):
    pipeline = read_pipeline(small)
    run_stage(pipeline, "filter", lambda _: None, again=False)
    os.utime(small.parent / "prompts.jsonl", (1, 1))
    assert states(pipeline)["filter"] == "done"


def test_a_stage_whose_input_is_missing_names_the_command_that_makes_it(small):
    with pytest.raises(StageNotReadyError, match="dedup needs the stage filter, which is missing") as caught:
        run_stage(read_pipeline(small), "dedup", lambda _: None, again=False)
    assert caught.value.do == "curate run --stage filter"


def test_one_more_answer_costs_only_the_difference(small):
    pipeline = read_pipeline(small)
    run_stage(pipeline, "filter", lambda _: None, again=False)
    run_stage(pipeline, "generate", lambda _: None, again=False)
    run_stage(pipeline, "generate", lambda _: None, again=True)
    assert RunStore(pipeline.workdir).published("generate").accounting.failed == 1


def test_the_release_is_made_once_for_the_same_rows(small):
    pipeline = read_pipeline(small)
    run_all(pipeline, lambda _: None)
    run_stage(pipeline, "release", lambda _: None, again=True)
    assert status(pipeline)["releases"] == ["1.0.0"]


def test_corrected_corrections_make_the_next_patch_release(small):
    pipeline = read_pipeline(small)
    run_all(pipeline, lambda _: None)
    path = small.parent / "corrections.jsonl"
    path.write_text(path.read_text().replace("31 metres", "31.0 metres"))
    for stage in ("annotate", "release"):
        run_stage(pipeline, stage, lambda _: None, again=False)
    assert status(pipeline)["releases"] == ["1.0.0", "1.0.1"]


@pytest.mark.parametrize("table", ["prompts", "scores", "verdicts"])
@pytest.mark.parametrize("touch", [lambda path: path.unlink(), lambda path: path.write_bytes(b"PAR1")])
def test_a_published_file_that_was_touched_is_made_anew(small, touch, table):
    pipeline = read_pipeline(small)
    run_stage(pipeline, "filter", lambda _: None, again=False)
    before = published_hashes(pipeline.workdir)
    touch(next((pipeline.workdir / "filter").glob(f"data-*/{table}-00000.parquet")))
    assert states(pipeline)["filter"] == "stale"
    run_stage(pipeline, "filter", lambda _: None, again=False)
    assert published_hashes(pipeline.workdir) == before


def test_a_changed_byte_in_a_published_table_is_refused(small):
    pipeline = read_pipeline(small)
    run_stage(pipeline, "filter", lambda _: None, again=False)
    path = next((pipeline.workdir / "filter").glob("data-*/prompts-00000.parquet"))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="was changed since it was published"):
        run_stage(pipeline, "generate", lambda _: None, again=False)


def test_a_release_that_is_gone_is_made_anew(finished, tmp_path):
    pipeline = read_pipeline(Path(shutil.copytree(finished.folder, tmp_path / "copy")) / "pipelines.toml")
    before = published_hashes(pipeline.workdir)
    shutil.rmtree(pipeline.workdir / "releases")
    assert states(pipeline)["release"] == "stale"
    run_stage(pipeline, "release", lambda _: None, again=False)
    assert published_hashes(pipeline.workdir) == before


def test_nothing_is_released_while_pairs_wait_or_where_none_is_left(finished, tmp_path):
    config = Path(shutil.copytree(finished.folder, tmp_path / "copy")) / "pipelines.toml"
    text = config.read_text()
    config.write_text(text.replace('kind = "recorded"\npath = "corrections.jsonl"', 'kind = "people"'))
    assert not run_all(read_pipeline(config), lambda _: None)
    with pytest.raises(WaitingError, match="rows wait for people") as waiting:
        run_stage(read_pipeline(config), "release", lambda _: None, again=False)
    assert waiting.value.exit_code == 3
    config.write_text(text.replace("[pipelines.small.release]", "[pipelines.small.release]\nmax_characters = 1"))
    with pytest.raises(ReleaseError, match="no correction is left to release"):
        run_all(read_pipeline(config), lambda _: None)
    assert status(read_pipeline(config))["releases"] == ["1.0.0"]
