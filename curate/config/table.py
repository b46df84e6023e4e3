"""The base of all tables of `pipelines.toml`, and its money."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Money = Annotated[Decimal, BeforeValidator(str), Field(ge=0)]


class Table(BaseModel):
    """Base of all tables of the file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
