"""What the train stage does, publishes and logs beside the steps of the model."""

import json
from xml.etree import ElementTree

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from curate.pipeline import run_stage
from tests.curate.stages.test_train_killed import untrained


def published(pipeline, name):
    (path,) = (pipeline.workdir / "train").glob(f"data-*/{name}")
    return path.read_text(encoding="utf-8")


def curve_of(pipeline):
    return [json.loads(line) for line in published(pipeline, "curve.jsonl").splitlines()]


def test_the_picture_of_the_curve_is_published_with_its_preset_release_and_last_loss(finished):
    root = ElementTree.fromstring(published(finished, "curve.svg"))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "Aligner (tiny), release 1.0.0"
    last = [line["loss"] for line in curve_of(finished) if "loss" in line][-1]
    assert f"training {last:.3g}" in texts


def test_the_largest_pack_of_all_phases_is_read_before_the_first_step(finished, tmp_path):
    pipeline = untrained(finished, tmp_path / "run", warmup_share=0.1)
    log, read = pipeline.workdir / "train" / "steps.jsonl", []

    def hook(module, inputs):
        if isinstance(module, torch.nn.Embedding) and torch.is_grad_enabled():
            read.append((log.read_bytes().count(b"\n"), inputs[0].shape[1]))

    hooked = register_module_forward_pre_hook(hook)
    try:
        run_stage(pipeline, "train", lambda _: None, again=False)
    finally:
        hooked.remove()
    steps = [line["tokens"] for line in curve_of(pipeline) if "loss" in line]
    assert [done for done, _ in read[:4]] == [0, 0, 0, 1]  # the third is step 1
    assert read[1] == (0, max(steps))
    assert [tokens for _, tokens in read[2:]] == steps
