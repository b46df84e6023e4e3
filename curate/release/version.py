"""Version numbers of releases, and which one a change asks for."""

from dataclasses import dataclass

from schemas.errors import ReleaseError


@dataclass(frozen=True, slots=True)
class Diff:
    """Rows by pair: added, removed, or with another correction, text or split; `is_other_schema` if columns differ."""

    added: int
    removed: int
    changed: int
    is_other_schema: bool

    @property
    def is_empty(self) -> bool:
        """Whether both releases hold the same rows."""
        return not (self.added or self.removed or self.changed or self.is_other_schema)


def next_version(previous: str | None, diff: Diff) -> str:
    """The smallest number allowed: major if columns changed, minor if rows came, patch if rows were fixed or left."""
    if previous is None:
        return "1.0.0"
    major, minor, patch = parse(previous)
    if diff.is_other_schema:
        return f"{major + 1}.0.0"
    if diff.added:
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"


def parse(version: str) -> tuple[int, int, int]:
    """The three numbers of a version. Raises ReleaseError."""
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ReleaseError(f'"{version}" is not a version', do="versions look like 1.0.0")
    return int(parts[0]), int(parts[1]), int(parts[2])
