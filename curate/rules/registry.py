"""How a rule gets its name, and how it is found by it."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

Score = Callable[["pl.Expr"], "pl.Expr"]


@dataclass(frozen=True)
class Rule:
    """A pure text check. `name` is family.function; a new `version` makes stored scores stale."""

    name: str
    unit: str
    version: int
    score: Score

    @property
    def meaning(self) -> str:
        """First line of the function's docstring."""
        return (self.score.__doc__ or "").strip().splitlines()[0]


_RULES: dict[str, Rule] = {}


def rule(unit: str, version: int) -> Callable[[Score], Score]:
    """Register a column expression as the rule `<file>.<function>`."""

    def register(score: Score) -> Score:
        name = f"{score.__module__.rsplit('.', 1)[-1]}.{score.__name__}"
        _RULES[name] = Rule(name, unit, version, score)
        return score

    return register


def all_rules() -> dict[str, Rule]:
    """Every rule by name, sorted."""
    package = importlib.import_module("curate.rules")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"curate.rules.{module.name}")
    return dict(sorted(_RULES.items()))


def find_rules(names: list[str]) -> dict[str, Rule]:
    """The named rules, in this order. Raises ConfigError, which names the nearest known one."""
    known = all_rules()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ConfigError(f'filter: unknown rule "{name}"{hint}', do=f"known rules: {', '.join(known)}")
    return {name: known[name] for name in names}
