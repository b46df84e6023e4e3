"""The picture of the loss curve: XML, all within its frame, small however long the training was."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from curate.training.curve_plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, plot

SPACE = "{http://www.w3.org/2000/svg}"


def step(phase: str, number: int, loss: float, epoch: int = 1, target_tokens: int = 10) -> dict[str, object]:
    return {"phase": phase, "step": number, "epoch": epoch, "loss": loss, "lr": 1e-4, "target_tokens": target_tokens}


def held_out(phase: str, number: int, loss: float) -> dict[str, object]:
    return {"phase": phase, "step": number, "epoch": 1, "held_out_loss": loss, "target_tokens": 5}


def falling(count: int) -> list[dict[str, object]]:
    """Two phases of so many steps each, with losses over two decades."""
    return [
        line
        for phase in ("warm-up", "correct")
        for number in range(1, count + 1)
        for line in (
            [step(phase, number, 9 * math.exp(-5 * number / count), epoch=1 + number * 3 // (count + 1))]
            + ([held_out(phase, number, 0.3)] if number % 100 == 0 or number == count else [])
        )
    ]


def parts(text: str, kind: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(text)
    assert (root.get("width"), root.get("height")) == (str(WIDTH), str(HEIGHT))
    return [one for one in root.iter(SPACE + "path") if kind in (one.get("class") or "").split()]


def points(path: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d") or "")]


def labels(text: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(text).iter(SPACE + "text")]


@pytest.mark.parametrize("count", [2, 60, 1000])
def test_all_points_lie_within_the_frame_and_run_to_the_right(count):
    drawn = [points(path) for path in parts(plot(falling(count), "a run"), "line")]
    assert len(drawn) == (4 if count == 1000 else 2)
    for line in drawn:
        assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in line)
        assert [x for x, _ in line] == sorted(x for x, _ in line)


def test_a_loss_that_falls_is_drawn_falling_and_on_a_log_scale_with_round_ticks():
    text = plot(falling(100), "a run")
    (warmup, _, *_) = (points(path) for path in parts(text, "line"))
    assert all(before < after for (_, before), (_, after) in pairwise(warmup))
    assert {"0.1", "0.2", "0.5", "1", "2", "5"} <= set(labels(text))
    assert "loss, nats per target token (log scale)" in labels(text)


def test_losses_that_differ_little_stand_on_a_linear_scale():
    text = plot([step("correct", number, 5 + number / 100) for number in range(1, 21)], "a run")
    assert "loss, nats per target token" in labels(text)
    assert {"5.05", "5.1", "5.15", "5.2"} <= set(labels(text))


@pytest.mark.parametrize(
    ("lines", "dots"),
    [
        ([step("correct", 1, 2.5)], 1),
        ([step("correct", 1, 0.0), held_out("correct", 1, 0.0)], 2),
        ([step("correct", 1, 1.0), held_out("correct", 1, math.nan), held_out("correct", 1, math.inf)], 1),
        ([step("warm-up", 1, 1e-9), step("correct", 1, 1e9)], 2),
        ([step("correct", 1, 1.0), step("correct", 2, 1.0)], 0),
        ([], 0),
    ],
    ids=["one step", "no loss at all", "not finite", "far apart", "flat", "nothing"],
)
def test_odd_curves_are_pictures_too(lines, dots):
    text = plot(lines, "a run")
    numbers = re.findall(r'(?:c?[xy]|d)="([^"]*)"', text)
    assert not any("nan" in one or "inf" in one for one in numbers)
    assert len(list(ElementTree.fromstring(text).iter(SPACE + "circle"))) == dots


def test_the_ends_of_the_lines_say_their_names_and_values():
    text = plot([step("correct", 1, 1.0), step("correct", 2, 0.51234), held_out("correct", 2, 0.512)], "a run")
    assert {"training 0.512", "held out 0.512"} <= set(labels(text))
    heights = [
        float(one.get("y") or 0)
        for one in ElementTree.fromstring(text).iter(SPACE + "text")
        if " 0.512" in (one.text or "")
    ]
    assert heights[1] - heights[0] >= 14


def test_a_point_of_a_thinned_line_is_the_mean_by_target_tokens():
    lines = [
        step("correct", number, 4.0 if number % 2 else 1.0, target_tokens=1 if number % 2 else 2)
        for number in range(1, 1201)
    ]
    text = plot(lines, "a run")
    (line,), (band,) = parts(text, "line"), parts(text, "band")
    assert len({y for _, y in points(line)}) == 1
    bottom, top = max(y for _, y in points(band)), min(y for _, y in points(band))
    assert points(line)[0][1] == pytest.approx(bottom + (2.0 - 1.0) / (4.0 - 1.0) * (top - bottom), abs=0.2)


def test_a_hundred_thousand_steps_stay_small():
    lines = falling(50_000)
    assert len(lines) > 100_000
    assert len(plot(lines, "a run")) < 40_000


def test_the_picture_loads_nothing_and_runs_nothing_and_keeps_a_hostile_title_as_text():
    text = plot(falling(10), 'a\x00\x1b"><script>alert(1)</script>')
    root = ElementTree.fromstring(text)
    assert {one.tag.removeprefix(SPACE) for one in root.iter()} <= {
        "svg",
        "title",
        "style",
        "rect",
        "path",
        "text",
        "circle",
    }
    assert labels(text)[0] == 'a"><script>alert(1)</script>'
    assert not re.search(r"url\(|@import|href|src=|on\w+=", text)
    assert text.count("http") == 1  # the name of the format
