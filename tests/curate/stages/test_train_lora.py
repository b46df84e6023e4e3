"""LoRA through the stage: a base that stays, an adapter of its own, a merged Aligner, and kills that change nothing."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from curate.store.run import RunStore
from curate.training import aligner
from schemas.errors import ConfigError
from tests.crashing import die_at, touches_of
from tests.curate.stages.training import steps_log, trained, untrained

LORA = {"rank": 4, "alpha": 8, "dropout": 0.1}


@pytest.fixture(scope="module")
def base(finished):
    return str(RunStore(finished.workdir).file("train", "aligner"))


def adapting(finished, base, folder):
    keys = {"warmup_share": 1.0, "tokens_per_step": 128, "lr_peak": 0.02, "lora": LORA}
    return untrained(finished, folder, base=base, **keys)


@pytest.fixture(scope="module")
def adapted(finished, base, tmp_path_factory):
    pipeline = adapting(finished, base, tmp_path_factory.mktemp("adapted") / "run")
    return pipeline, trained(pipeline)


@torch.no_grad()
def logits(model):
    return model.eval()(input_ids=torch.arange(60)[None]).logits


def loss(pipeline, phase):
    return [line["loss"] for line in steps_log(pipeline) if line.get("phase") == phase and "loss" in line]


def test_the_loss_falls_in_both_phases(adapted):
    pipeline, _ = adapted
    for phase in ("warm-up", "correct"):
        losses = loss(pipeline, phase)
        assert sum(losses[-3:]) < 0.95 * sum(losses[:3])


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_the_aligner_is_whole_and_the_adapter_on_its_base_is_the_same_model(adapted, base):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    store = RunStore(adapted[0].workdir)
    whole = aligner.load(str(store.file("train", "aligner")), torch.device("cpu")).model
    copy = AutoModelForCausalLM.from_pretrained(store.file("train", "copy"))
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), store.file("train", "adapter"))
    assert torch.allclose(logits(theirs), logits(whole), rtol=0, atol=1e-5)
    for other in (copy, AutoModelForCausalLM.from_pretrained(base)):
        assert not torch.allclose(logits(other), logits(whole), rtol=0, atol=1e-3)
    told = json.loads((store.file("train", "adapter") / "adapter_config.json").read_text())
    assert (told["base_model_name_or_path"], told["r"], told["lora_alpha"], told["lora_dropout"]) == (
        Path(base).name,
        4,
        8,
        0.1,
    )


def test_no_published_file_tells_where_the_base_lay(adapted, base):
    folder = RunStore(adapted[0].workdir).file("train", "aligner").parent
    texts = [path for path in folder.rglob("*") if path.suffix not in {".safetensors", ".parquet"} and path.is_file()]
    assert len(texts) > 10
    for path in texts:
        assert str(Path(base).parent) not in path.read_text(), path
    assert Path(base).name in (folder / "aligner" / "README.md").read_text()


def test_what_was_merged_is_measured_like_any_aligner(adapted):
    run_stage(adapted[0], "evaluate", lambda _: None, again=False)
    measured = RunStore(adapted[0].workdir).published("evaluate").notes
    assert measured["loss_of_corrections"] < measured["loss_of_corrections_copy_baseline"]


def test_kills_in_both_phases_change_no_byte_and_checkpoints_are_small(finished, base, adapted, tmp_path):
    pipeline = adapting(finished, base, tmp_path / "run")
    touches = touches_of(adapting(finished, base, tmp_path / "counted").folder / "pipelines.toml", "train")
    for touch in (touches // 4, touches // 2):
        die_at(pipeline.folder / "pipelines.toml", "train", touch)
    folder = pipeline.workdir / "train" / "checkpoints"
    whole, kept = (
        folder / "warm-up" / "model" / "model.safetensors",
        min(folder.glob("correct-*/weights-*.safetensors")),
    )
    assert whole.stat().st_size > 4 * kept.stat().st_size
    assert trained(pipeline) == adapted[1]
    resumed = [(line["phase"], line["step"]) for line in steps_log(pipeline) if line.get("event") == "resumed"]
    assert {phase for phase, _ in resumed} == {"warm-up", "correct"}


def test_another_adapter_is_another_training(adapted):
    pipeline = adapted[0]
    config = pipeline.folder / "pipelines.toml"
    before = config.read_text()
    keys = RunStore(pipeline.workdir).published("train").key["settings"]
    assert keys["lora"] == {"rank": 4, "alpha": 8, "dropout": 0.1, "targets": []}
    for old, new in (("rank = 4", "rank = 5"), ("alpha = 8", "alpha = 9"), ("dropout = 0.1", "dropout = 0.0")):
        config.write_text(before.replace(old, new))
        assert_stale(config)
    config.write_text(before.replace("dropout = 0.1", 'dropout = 0.1, targets = ["q_proj"]'))
    assert_stale(config)
    config.write_text(before)


def assert_stale(config):
    from curate.pipeline import survey

    assert {one.name: one.state for one in survey(read_pipeline(config))}["train"] == "stale"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("lora = {}", "lora adapts weights that were trained before, and tiny starts from scratch: give a base"),
        ('base = "b"\nlora = { rank = 0 }', "greater than or equal to 1"),
        ('base = "b"\nlora = { rang = 4 }', 'unknown key "rang"; did you mean "rank"'),
        ('base = "b"\nlora = { targets = "q_proj" }', "valid tuple"),
        ('base = "b"\nlora = { dropout = 1.0 }', "less than 1"),
    ],
)
def test_what_cannot_be_adapted_is_refused_when_the_file_is_read(small, lines, message):
    small.write_text(small.read_text().replace('preset = "tiny"', f'preset = "tiny"\n{lines}'))
    with pytest.raises(ConfigError, match=message):
        read_pipeline(small)


def test_a_local_base_is_relative_to_the_file_and_another_content_makes_the_stage_stale(finished, base, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", base="base", epochs=0.1, warmup_share=0)
    shutil.copytree(base, pipeline.folder / "base")
    trained(pipeline)
    weights = pipeline.folder / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert_stale(pipeline.folder / "pipelines.toml")
