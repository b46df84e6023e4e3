"""Training that goes on from an Aligner: from its weights and template, on all rows or on those it has not seen."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from curate.config.reading import read_pipeline
from curate.pipeline import run_stage, survey
from curate.store.run import RunStore
from curate.training import aligner
from curate.training.folder import aligner_id, read_learned, read_told, write_learned
from schemas.errors import ConfigError, StageError
from tests.crashing import die_at, touches_of
from tests.curate.stages.training import steps_log, trained, untrained

NEW = {"rows": "new", "tokens_per_step": 64, "epochs": 3}


@pytest.fixture(scope="module")
def parent(finished, tmp_path_factory):
    """The small pipeline when only half of its corrections were there, trained for some epochs with the template T3."""
    pipeline = untrained(finished, tmp_path_factory.mktemp("parent") / "run", epochs=4, template="T3")
    corrections = pipeline.folder / "corrections.jsonl"
    lines = corrections.read_text().splitlines(keepends=True)
    corrections.write_text("".join(lines[: len(lines) // 2]))
    for stage in ("annotate", "release", "train"):
        run_stage(pipeline, stage, lambda _: None, again=False)
    return pipeline


@pytest.fixture
def folder(parent, tmp_path):
    """A copy of the parent's Aligner."""
    shutil.copytree(published(parent), tmp_path / "aligners" / "1")
    return tmp_path / "aligners" / "1"


def published(pipeline, name="aligner"):
    return RunStore(pipeline.workdir).file("train", name)


def continuing(finished, place, named, **settings):
    """All corrections are there now; `warmup_share` is not given."""
    pipeline = untrained(finished, place, aligner=str(named), **settings)
    config = pipeline.folder / "pipelines.toml"
    config.write_text(config.read_text().replace("warmup_share = 0.5\n", ""))
    return read_pipeline(config)


def states(pipeline):
    return {one.name: (one.state, one.problem) for one in survey(pipeline)}


def ids(pipeline, table="rows"):
    column = "triple_id" if table == "rows" else "row_id"
    return set(RunStore(pipeline.workdir).table("train", table).collect()[column])


def first_loss(pipeline):
    return next(line["loss"] for line in steps_log(pipeline) if line.get("phase") == "correct")


@pytest.fixture(scope="module")
def continued(finished, parent, tmp_path_factory):
    """A pipeline that went on, on new rows only, from the folder of the parent's training."""
    place = tmp_path_factory.mktemp("continued") / "run"
    pipeline = continuing(finished, place, parent.workdir / "train", **NEW)
    return pipeline, trained(pipeline)


def test_it_starts_where_the_parent_ended_and_with_its_template(finished, parent, continued, tmp_path):
    pipeline, _ = continued
    scratch = untrained(finished, tmp_path / "scratch", template="T3", warmup_share=0)
    trained(scratch)
    assert first_loss(pipeline) < 0.8 * first_loss(scratch)
    made = aligner.load(str(published(pipeline)), torch.device("cpu"))
    assert made.template.name == "T3"
    assert {line["phase"] for line in steps_log(pipeline) if "loss" in line} == {"correct"}


def test_only_rows_that_the_parent_has_not_seen_are_learned_and_the_others_have_a_verdict(parent, continued):
    pipeline, _ = continued
    before = ids(parent)
    assert before
    assert ids(pipeline)
    assert not ids(pipeline) & before
    assert ids(pipeline, "verdicts") == before & released(pipeline)
    assert RunStore(pipeline.workdir).published("train").dropped_by == {"train.learned": len(before)}


def released(pipeline, split="train"):
    import polars as pl

    triples = RunStore(pipeline.workdir).table("release", "triples").filter(pl.col("split") == split)
    return set(triples.collect()["triple_id"])


def test_the_aligner_tells_its_parent_and_all_that_both_learned_from(parent, continued):
    told = read_told(published(continued[0]))
    release = read_told(published(parent))["release"]
    assert release["version"] == "1.0.1"
    assert told["parent"] == {"aligner_id": aligner_id(published(parent)), "release": release}
    card = (published(continued[0]) / "README.md").read_text()
    assert f"the Aligner `{aligner_id(published(parent))}`, which learned from release 1.0.1 of small" in card
    assert told["base"] is None
    assert read_learned(published(parent)) == ids(parent)
    assert read_learned(published(continued[0])) == ids(parent) | ids(continued[0])


@torch.no_grad()
def test_the_copy_baseline_is_the_parent(parent, continued):
    from transformers import AutoModelForCausalLM

    before, copy = (
        AutoModelForCausalLM.from_pretrained(folder).state_dict()
        for folder in (published(parent), published(continued[0], "copy"))
    )
    assert all(torch.equal(copy[name], one) for name, one in before.items())


def test_a_share_of_the_old_rows_is_replayed(finished, parent, continued, tmp_path):
    keys = {"rows": "new", "replay_share": 0.5, "epochs": 1}
    pipeline = continuing(finished, tmp_path / "run", parent.workdir / "train", **keys)
    trained(pipeline)
    replayed = ids(pipeline) - ids(continued[0])
    assert ids(pipeline) > ids(continued[0])
    assert 0 < len(replayed) < len(ids(parent))
    assert replayed < ids(parent)


def test_all_rows_are_learned_where_nothing_else_is_said(finished, folder, tmp_path):
    pipeline = continuing(finished, tmp_path / "run", folder, epochs=0.1, warmup_share=0.5)
    trained(pipeline)
    assert ids(pipeline) == released(pipeline)


def test_without_a_new_row_nothing_is_trained(finished, parent, folder, tmp_path):
    write_learned(read_learned(folder) | released(finished), folder)
    with pytest.raises(StageError, match="has learned from all 20 training rows of the release already") as refused:
        trained(continuing(finished, tmp_path / "run", folder, rows="new"))
    assert 'train.rows = "all"' in refused.value.do


def test_an_aligner_that_does_not_say_what_it_learned_from_can_be_trained_on_all_rows_only(finished, folder, tmp_path):
    (folder / "learned.txt").unlink()
    with pytest.raises(StageError, match="does not say which rows it learned from"):
        trained(continuing(finished, tmp_path / "run", folder, rows="new"))
    pipeline = continuing(finished, tmp_path / "all", folder, epochs=0.1)
    trained(pipeline)
    assert read_learned(published(pipeline)) is None


def test_held_out_rows_that_the_parent_learned_from_are_no_measure(finished, folder, tmp_path):
    seen = {min(released(finished, split)) for split in ("validation", "test")}
    write_learned(read_learned(folder) | seen, folder)
    pipeline = continuing(finished, tmp_path / "run", folder, epochs=1)
    trained(pipeline)
    (held_out,) = (line for line in steps_log(pipeline) if "held_out_loss" in line)
    assert held_out["rows"] == len(released(finished, "validation")) - 1
    run_stage(pipeline, "evaluate", lambda _: None, again=False)
    measured = RunStore(pipeline.workdir).published("evaluate").notes
    assert measured["rows_with_losses"] == len(released(finished, "test")) - 1


def test_a_template_that_differs_is_refused_with_both_ids(finished, folder, tmp_path):
    from curate.training.templates import TEMPLATES

    with pytest.raises(StageError) as refused:
        trained(continuing(finished, tmp_path / "run", folder, template="T1"))
    for name in ("T1", "T3"):
        assert f"{name} ({TEMPLATES[name].template_id})" in refused.value.what


def test_a_folder_that_is_missing_or_damaged_is_told(finished, folder, tmp_path):
    with pytest.raises(StageError, match="no/where is no Aligner"):
        trained(continuing(finished, tmp_path / "missing", "no/where"))
    learned, weights = folder / "learned.txt", folder / "model.safetensors"
    whole = learned.read_bytes()
    learned.write_bytes(whole[:-3])
    with pytest.raises(StageError, match="learned.txt is damaged: line [0-9]+ holds no id"):
        trained(continuing(finished, tmp_path / "torn", folder))
    learned.write_bytes(whole)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(StageError, match="cannot be loaded"):
        trained(continuing(finished, tmp_path / "damaged", folder))


def test_its_own_training_is_refused(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    config = tmp_path / "run" / "pipelines.toml"
    config.write_text(config.read_text().replace("epochs = 1\n", 'epochs = 1\naligner = "runs/small/train"\n'))
    pipeline = read_pipeline(config)
    state, problem = states(pipeline)["train"]
    assert (state, problem[:50]) == ("stale", "train.aligner names what this pipeline's own train")


def test_a_changed_aligner_makes_the_stage_stale_and_a_moved_one_does_not(finished, folder, tmp_path):
    pipeline = continuing(finished, tmp_path / "run", folder, epochs=0.1)
    trained(pipeline)
    config = pipeline.folder / "pipelines.toml"
    shutil.copytree(folder, pipeline.folder / "moved")
    config.write_text(config.read_text().replace(str(folder), "moved"))
    pipeline = read_pipeline(config)
    assert states(pipeline)["train"] == ("done", "")
    weights = pipeline.folder / "moved" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert states(pipeline)["train"][0] == "stale"


def test_a_loop_of_links_is_no_aligner(finished, tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    state, problem = states(continuing(finished, tmp_path / "run", tmp_path / "one", epochs=0.1))["train"]
    assert state != "done"
    assert "is no " in problem


def test_a_parent_that_tells_nonsense_is_refused_before_training(finished, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    told = json.loads((copy / "aligner.json").read_text())
    (copy / "aligner.json").write_text(json.dumps({**told, "base": 5}))
    pipeline = continuing(finished, tmp_path / "run", copy, epochs=0.1)
    with pytest.raises(StageError, match="aligner.json is damaged"):
        trained(pipeline)
    assert steps_log(pipeline) == []


def test_a_kill_changes_no_byte(finished, parent, continued, tmp_path):
    counted, pipeline = (
        continuing(finished, tmp_path / name, parent.workdir / "train", **NEW) for name in ("counted", "run")
    )
    touches = touches_of(counted.folder / "pipelines.toml", "train")
    die_at(pipeline.folder / "pipelines.toml", "train", touches // 2)
    assert trained(pipeline) == continued[1]
    assert any(line.get("event") == "resumed" for line in steps_log(pipeline))


def test_an_aligner_is_adapted_by_lora_like_any_base(finished, folder, tmp_path):
    pipeline = continuing(finished, tmp_path / "run", folder, rows="new", lora={"rank": 4}, lr_peak=0.02)
    trained(pipeline)
    told = json.loads((published(pipeline, "adapter") / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == Path(folder).name


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('base = "b"\naligner = "a"', "base and aligner both say what training starts from: give one"),
        ('rows = "new"', "an earlier Aligner has not seen: name it with aligner"),
        ('aligner = "a"\nreplay_share = 0.1', 'replay_share adds to rows = "new"'),
    ],
)
def test_keys_that_contradict_are_refused(small, lines, message):
    small.write_text(small.read_text().replace('preset = "tiny"', f'preset = "tiny"\n{lines}'))
    with pytest.raises(ConfigError, match=message):
        read_pipeline(small)
