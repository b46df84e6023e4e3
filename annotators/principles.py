"""Principles: what a good answer is, and the rules that tell when it is not. They are data: versioned TOML files."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

import msgspec

from schemas.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9_-]*")
OURS = files("annotators") / "texts" / "principles"
Text = TypeVar("Text", bound=msgspec.Struct)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way in which an answer can break a principle; `text` is shown to annotators and critics."""

    name: str
    text: str


class Principle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One aim. A new `version` says that its meaning changed."""

    name: str
    version: int
    text: str
    rules: tuple[Rule, ...] = ()

    @property
    def rule_ids(self) -> dict[str, str]:
        """Name of each rule, such as harmless.violence, and its text; a principle without rules is one itself."""
        return {f"{self.name}.{rule.name}": rule.text for rule in self.rules} or {self.name: self.text}


def own_names() -> list[str]:
    """Names of the principles that come along."""
    return sorted(file.name.removesuffix(".toml") for file in OURS.iterdir())


def chosen(names: Sequence[str], folder: Path) -> list[Principle]:
    """The named principles in this order; a name that ends in .toml is a file, relative to `folder`.

    Raises ConfigError at an unknown name, at a file that is missing or no principle, and at two of one name.
    """
    found = [_read(name, folder) for name in names]
    known = [principle.name for principle in found]
    if twice := sorted({name for name in known if known.count(name) > 1}):
        raise ConfigError(f"two principles have the name {', '.join(twice)}", do="name each once")
    return found


def listed(principles: Sequence[Principle]) -> str:
    """The principles with their rules, as annotators and critics are shown them."""
    lines = []
    for principle in principles:
        lines.append(f"- {principle.name}: {principle.text.strip()}")
        lines += [f"  - {principle.name}.{rule.name}: {rule.text.strip()}" for rule in principle.rules]
    return "\n".join(lines)


def rules_of(principles: Sequence[Principle]) -> dict[str, str]:
    """All rules of some principles: name and text."""
    return {name: text for principle in principles for name, text in principle.rule_ids.items()}


def _read(name: str, folder: Path) -> Principle:
    content = words_of(name, folder, "principle", {one: OURS / f"{one}.toml" for one in own_names()})
    principle = decoded(content, Principle, name)
    wrong = [one for one in (principle.name, *(rule.name for rule in principle.rules)) if not NAME.fullmatch(one)]
    if wrong:
        raise ConfigError(
            f"{name}: {wrong[0]!r} is no name for a principle or rule", do="use lower-case letters, digits, _ and -"
        )
    if len({rule.name for rule in principle.rules}) < len(principle.rules):
        raise ConfigError(f"{name}: two rules have one name", do="name each once")
    return principle


def words_of(name: str, folder: Path, what: str, ours: Mapping[str, Traversable]) -> bytes:
    """The bytes of one of ours, or of a file that the configuration names (.toml, relative to `folder`).

    what: principle or template. Raises ConfigError.
    """
    if name in ours:
        return ours[name].read_bytes()
    if not name.endswith(".toml"):
        raise ConfigError(
            f"unknown {what}: {name}", do=f"known: {', '.join(ours)}; or name a file of your own: mine.toml"
        )
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{name} cannot be read: {error.strerror} ({folder / name})", do="correct the path"
        ) from error


def decoded(content: bytes, kind: type[Text], name: str) -> Text:
    """A principle or template from TOML. Raises ConfigError with the file's name."""
    try:
        return msgspec.toml.decode(content, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}", do="docs/annotate.md shows the form of such a file") from error
