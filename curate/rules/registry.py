"""How a rule gets its name, and how it is found by it."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from schemas.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

Named = TypeVar("Named")
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
    return loaded("curate.rules", _RULES)


def find_rules(names: list[str]) -> dict[str, Rule]:
    """The named rules, in this order. Raises ConfigError, which names the nearest known one."""
    return found("filter", "rule", names, all_rules())


def loaded(package: str, registered: Mapping[str, Named]) -> dict[str, Named]:
    """What the modules of a package register when they are imported, by name, sorted."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    return dict(sorted(registered.items()))


def found(stage: str, what: str, names: Iterable[str], known: Mapping[str, Named]) -> dict[str, Named]:
    """The named ones of some known ones, in the order of the names. Raises ConfigError with the nearest known name."""
    chosen = {}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ConfigError(f'{stage}: unknown {what} "{name}"{hint}', do=f"known {what}s: {', '.join(known)}")
        chosen[name] = known[name]
    return chosen
