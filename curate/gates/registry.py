"""How a gate gets its name, and how it is found by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.rules.registry import found, loaded

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl


@dataclass(frozen=True)
class Context:
    """What the annotators were told, so that it is recognised in what they wrote."""

    marks: tuple[str, ...]
    """Marks of templates, such as `<correction>`; a blank one is ignored."""
    instructions: tuple[str, ...]
    """Texts of templates and principles."""


Score = Callable[["pl.DataFrame", Context], "pl.Series"]
"""From prepared rows (preparing.py), none of them a copy, to Float64 in their order; never null, never NaN."""


@dataclass(frozen=True)
class Gate:
    """A pure check of a correction. `name` is family.function; a new `version` makes stored scores stale.

    lowest, highest: the default bounds; both pass. unchanged: what a copy scores, and a row that is not judged.
    """

    name: str
    unit: str
    version: int
    lowest: float | None
    highest: float | None
    unchanged: float
    score: Score

    @property
    def meaning(self) -> str:
        """First line of the function's docstring."""
        return (self.score.__doc__ or "").strip().splitlines()[0]


_GATES: dict[str, Gate] = {}


def gate(
    unit: str, version: int, lowest: float | None = None, highest: float | None = None, unchanged: float = 0.0
) -> Callable[[Score], Score]:
    """Register a function of prepared rows as the gate `<file>.<function>`."""

    def register(score: Score) -> Score:
        name = f"{score.__module__.rsplit('.', 1)[-1]}.{score.__name__}"
        _GATES[name] = Gate(name, unit, version, lowest, highest, unchanged, score)
        return score

    return register


def all_gates() -> dict[str, Gate]:
    """Every gate by name, sorted. Loads no heavy library: the gates load theirs when they score."""
    return loaded("curate.gates", _GATES)


def find_gates(names: Iterable[str]) -> dict[str, Gate]:
    """The named gates, in this order. Raises ConfigError, which names the nearest known one."""
    return found("annotate", "gate", names, all_gates())
