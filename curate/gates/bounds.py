"""The bounds that gates have by default, and which bounds would drop copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.gates.registry import all_gates, find_gates
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from curate.config.table import Bounds


def default_bounds() -> dict[str, Bounds]:
    """Every gate with its own bounds, by name."""
    from curate.config.table import Bounds

    return {name: Bounds(min=gate.lowest, max=gate.highest) for name, gate in all_gates().items()}


def check_bounds(bounds: Mapping[str, Bounds]) -> None:
    """Raises ConfigError at an unknown gate, and at bounds that a copy would leave: copies are training data."""
    for name, gate in find_gates(bounds).items():
        lowest, highest = bounds[name].min, bounds[name].max
        if (lowest is not None and gate.unchanged < lowest) or (highest is not None and gate.unchanged > highest):
            raise ConfigError(
                f'annotate: the bounds of the gate "{name}" would drop every correction that equals its answer',
                do=f"let {gate.unchanged:g} {gate.unit} pass: that is what an unchanged text scores",
            )
