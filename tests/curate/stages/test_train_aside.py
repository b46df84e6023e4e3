"""What the train stage publishes and logs beside the model."""

import json
from xml.etree import ElementTree


def published(pipeline, name):
    (path,) = (pipeline.workdir / "train").glob(f"data-*/{name}")
    return path.read_text(encoding="utf-8")


def test_the_picture_of_the_curve_is_published_with_its_preset_release_and_last_loss(finished):
    root = ElementTree.fromstring(published(finished, "curve.svg"))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "Aligner (tiny), release 1.0.0"
    *_, last, _ = (json.loads(line) for line in published(finished, "curve.jsonl").splitlines())
    assert f"training {last['loss']:.3g}" in texts
