"""The base of all tables of `pipelines.toml`, and its money."""

from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Money = Annotated[Decimal, BeforeValidator(str), Field(ge=0)]


class Table(BaseModel):
    """Base of all tables of the file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Bounds(Table):
    """The scores that a rule lets pass; both ends are included."""

    min: float | None = None
    """Lowest score that passes."""
    max: float | None = None
    """Highest score that passes."""

    @model_validator(mode="after")
    def _some_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: nothing would pass")
        return self


def check_names(what: str, names: list[str]) -> None:
    """Raises ValueError where a name stands twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"duplicate {what}: {', '.join(twice)}; name each once")
