"""The loss curve as a picture: an SVG that needs no script, no font and no other file. Pure.

Colours follow the reader's choice of light or dark. A long training is thinned: its size does not grow with its steps.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

MOST_PLACES = 200
"""Points of all phases' lines: means of so many parts are read more easily than thousands of noisy steps."""

MOST_MARKED = 60
"""Held-out losses that get a dot each; more would hide the line."""

WIDTH, HEIGHT = 960, 508
LEFT, RIGHT = 62, 812
TOP, BOTTOM = 78, 366
RATE_TOP, RATE_BOTTOM = 404, 456

STYLE = """
text{font:13px system-ui,sans-serif;fill:#555}.title{font-size:17px;font-weight:600;fill:#111}.paper{fill:#fff}
.grid{stroke:#e4e4e4}.axis{stroke:#999}.epoch{stroke:#ccc;stroke-dasharray:2 4}.line{fill:none;stroke-width:2}
.line,.rate{stroke-linejoin:round;stroke-linecap:round}.rate{fill:none;stroke:#777;stroke-width:1.5}
.train{stroke:#2166ac}.held{stroke:#c2410c}.band{fill:#2166ac;fill-opacity:.16}
.dot{stroke:none}.dot.train,text.train{fill:#2166ac;stroke:none}.dot.held,text.held{fill:#c2410c;stroke:none}
text.train,text.held{font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}
@media(prefers-color-scheme:dark){text{fill:#aaa}.title{fill:#eee}.paper{fill:#16181c}.grid{stroke:#2b2f36}
.axis{stroke:#666}.epoch{stroke:#444}.rate{stroke:#999}.train{stroke:#6cb0f5}.held{stroke:#fb923c}
.band{fill:#6cb0f5;fill-opacity:.2}.dot.train,text.train{fill:#6cb0f5}.dot.held,text.held{fill:#fb923c}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """One point of a line: steps from the start of the run, the mean there, and what it was the mean of."""

    at: float
    mean: float
    least: float
    most: float


def plot(lines: Sequence[Mapping[str, Any]], title: str) -> str:
    """The picture of the lines of `curve.jsonl` in their order: losses of all phases, held-out ones, and the rate."""
    steps = [line for line in lines if "loss" in line and math.isfinite(line["loss"])]
    held_out = [line for line in lines if "held_out_loss" in line and math.isfinite(line["held_out_loss"])]
    phases = _phases(steps)
    losses = [line["loss"] for line in steps] + [line["held_out_loss"] for line in held_out]
    if not losses:
        return _document(title, ['<text class="middle" x="480" y="250">no step has a loss</text>'])
    end = max(1, sum(phases.values()))
    across = _linear(0.5, end + 0.5, LEFT, RIGHT)
    up, ticks, kind = _heights(losses)
    starts = dict(zip(phases, _starts(phases.values()), strict=True))
    parts = [_level(up(tick), f"{tick:g}") for tick in ticks]
    parts += [f'<text x="{LEFT}" y="56">loss, nats per target token{kind}</text>']
    parts += _steps_axis(phases, starts, end, across)
    parts += _epochs(steps, starts, across)
    parts += _rate(steps, starts, across)
    ends: list[tuple[str, str, float]] = []
    for phase, start in starts.items():
        most = math.ceil(MOST_PLACES * phases[phase] / end)
        its = [one for one in steps if one["phase"] == phase]
        own = _places([(start + one["step"], one["loss"], one["target_tokens"]) for one in its], most)
        tested = [one for one in held_out if one["phase"] == phase]
        seen = _places([(start + one["step"], one["held_out_loss"], one["target_tokens"]) for one in tested], most)
        parts += [*_line("train", own, across, up), *_line("held", seen, across, up)]
        ends = [("train", "training", own[-1].mean), *([("held", "held out", seen[-1].mean)] if seen else [])]
    return _document(title, [*parts, *_names(ends, up)])


def _phases(steps: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The phases in their order, with the number of their last step."""
    phases: dict[str, int] = {}
    for one in steps:
        phases[one["phase"]] = max(one["step"], phases.get(one["phase"], 0))
    return phases


def _starts(lengths: Iterable[int]) -> list[int]:
    starts, start = [], 0
    for length in lengths:
        starts.append(start)
        start += length
    return starts


def _places(points: Sequence[tuple[int, float, int]], most: int) -> list[Place]:
    """At most so many of (step, value, weight): means of neighbours, by weight."""
    count = min(most, len(points))
    places = []
    for number in range(count):
        part = points[len(points) * number // count : len(points) * (number + 1) // count]
        weight = sum(one[2] for one in part)
        values = [one[1] for one in part]
        mean = sum(one[1] * one[2] for one in part) / weight
        places.append(Place((part[0][0] + part[-1][0]) / 2, mean, min(values), max(values)))
    return places


def _linear(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (stop - start)


def _heights(losses: Sequence[float]) -> tuple[Callable[[float], float], list[float], str]:
    """Where a loss lies, the ticks, and a word on the scale: logarithmic where losses differ by a factor of 8."""
    low, high = min(losses), max(losses)
    if low > 0 and high / low >= 8:
        place = _linear(math.log(low / 1.1), math.log(high * 1.1), BOTTOM, TOP)
        decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            found = [digit * 10.0**decade for decade in decades for digit in digits]
            ticks = [tick for tick in found if low / 1.1 <= tick <= high * 1.1]
            if len(ticks) <= 9:
                break
        return lambda value: place(math.log(value)), ticks, " (log scale)"
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    bottom, top = max(0.0, low - room) if low >= 0 else low - room, high + room
    return _linear(bottom, top, BOTTOM, TOP), _ticks(bottom, top, 6), ""


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers in a range, at most so many: 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    apart = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / apart - 1e-9), math.floor(high / apart + 1e-9)
    return [round(number * apart, 12) for number in range(first, last + 1)]


def _level(y: float, label: str) -> str:
    line = f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>'
    return f'{line}<text class="end" x="{LEFT - 8}" y="{y + 4.5:.1f}">{label}</text>'


def _steps_axis(
    phases: Mapping[str, int], starts: Mapping[str, int], end: int, across: Callable[[float], float]
) -> list[str]:
    """Ticks of each phase's own steps, and the phases' names: the first at its left end, later ones at their right."""
    parts = [f'<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}M{LEFT} {RATE_BOTTOM}H{RIGHT}"/>']
    apart = max(1, round(_ticks(0, max(end, 2), 10)[1]))
    for number, (phase, length) in enumerate(phases.items()):
        shown = list(range(apart, length + 1, apart)) or [length]
        for step in shown:
            x = across(starts[phase] + step)
            parts.append(f'<path class="axis" d="M{x:.1f} {RATE_BOTTOM}v5"/>')
            parts.append(f'<text class="middle" x="{x:.1f}" y="{RATE_BOTTOM + 19}">{step:,}</text>')
        edge = across(starts[phase] + 0.5)
        if number:
            parts.append(f'<path class="axis" d="M{edge:.1f} {TOP - 12}V{RATE_BOTTOM}"/>')
        x, anchor = (edge + 4, "") if number == 0 else (across(starts[phase] + length + 0.5), ' class="end"')
        parts.append(f'<text{anchor} x="{x:.1f}" y="{TOP - 4}">{escape(phase)}</text>')
    middle = (LEFT + RIGHT) // 2
    return [*parts, f'<text class="middle" x="{middle}" y="{RATE_BOTTOM + 40}">step, counted in each phase</text>']


def _epochs(
    steps: Sequence[Mapping[str, Any]], starts: Mapping[str, int], across: Callable[[float], float]
) -> list[str]:
    """A faint line where an epoch ends within a phase, where there are few."""
    found = [
        across(starts[one["phase"]] + one["step"] + 0.5)
        for one, after in pairwise(steps)
        if one["phase"] == after["phase"] and one["epoch"] != after["epoch"]
    ]
    return [f'<path class="epoch" d="M{x:.1f} {TOP}V{BOTTOM}"/>' for x in found] if len(found) <= 20 else []


def _rate(steps: Sequence[Mapping[str, Any]], starts: Mapping[str, int], across: Callable[[float], float]) -> list[str]:
    highest = max(one["lr"] for one in steps) if steps else 0.0
    up = _linear(0, highest or 1.0, RATE_BOTTOM, RATE_TOP)
    parts = [
        f'<text class="end" x="{LEFT - 8}" y="{RATE_TOP + 4}">{_short(highest)}</text>',
        f'<text class="end" x="{LEFT - 8}" y="{RATE_BOTTOM + 4}">0</text>',
        f'<text x="{RIGHT + 10}" y="{(RATE_TOP + RATE_BOTTOM) / 2 + 4:.0f}">learning rate</text>',
    ]
    for phase, start in starts.items():
        places = _places([(start + one["step"], one["lr"], 1) for one in steps if one["phase"] == phase], MOST_PLACES)
        parts.append(f'<path class="rate" d="{_path(((one.at, one.mean) for one in places), across, up)}"/>')
    return parts


def _line(
    name: str, places: Sequence[Place], across: Callable[[float], float], up: Callable[[float], float]
) -> list[str]:
    """The line, a dot where it is short, and the range of what each point is the mean of."""
    parts = []
    if any(one.least < one.most for one in places):
        around = [*((one.at, one.most) for one in places), *((one.at, one.least) for one in reversed(places))]
        parts.append(f'<path class="band" d="{_path(around, across, up)}Z"/>')
    if len(places) > 1:
        parts.append(f'<path class="line {name}" d="{_path(((one.at, one.mean) for one in places), across, up)}"/>')
    if len(places) == 1 or (name == "held" and len(places) <= MOST_MARKED):
        parts += [
            f'<circle class="dot {name}" cx="{across(one.at):.1f}" cy="{up(one.mean):.1f}" r="3.5"/>' for one in places
        ]
    return parts


def _path(points: Iterable[tuple[float, float]], across: Callable[[float], float], up: Callable[[float], float]) -> str:
    places = [f"{across(x):.1f} {up(y):.1f}" for x, y in points]
    return "M" + "L".join(places) + ("h0" if len(places) == 1 else "")  # a line of no length is drawn as a dot


def _names(ends: Sequence[tuple[str, str, float]], up: Callable[[float], float]) -> list[str]:
    """What each line is and where it ends, beside its end; two that end at one height stand apart."""
    parts, lowest = [], -math.inf
    for name, label, value in sorted(ends, key=lambda one: up(one[2])):
        lowest = max(up(value) + 4.5, lowest + 16)
        parts.append(f'<text class="{name}" x="{RIGHT + 10}" y="{lowest:.1f}">{label} {value:.3g}</text>')
    return parts


def _short(rate: float) -> str:
    return f"{rate:.2g}".replace("e-0", "e-")


def _document(title: str, parts: Sequence[str]) -> str:
    title = "".join(letter for letter in title if letter.isprintable())  # XML has no place for the others
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="32">{escape(title)}</text>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"
