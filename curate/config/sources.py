"""What `[[pipelines.NAME.sources]]` may say."""

from typing import Literal, Self

from pydantic import Field, model_validator

from curate.config.table import Table

Shape = Literal[
    "field", "texts", "alpaca", "sharegpt", "hh-rlhf", "messages", "pku-saferlhf", "ultrafeedback", "preference"
]
HOLDING_PREFERENCES = ("hh-rlhf", "pku-saferlhf", "ultrafeedback", "preference")
"""Shapes whose rows hold a rejected and a chosen answer."""


class SourceConfig(Table):
    """One `[[pipelines.NAME.sources]]`: files of raw prompts."""

    path: str
    """File or glob, relative to the configuration file: .jsonl, .json, .csv or .parquet, also .gz and .zst."""
    shape: Shape = "field"
    """How a row holds its prompt: one field; JSON whose leaves are the prompts (texts); or a known shape."""
    field: str | None = None
    """Column of the prompt; needed where shape is `field`."""
    license: str | None = Field(default=None, min_length=1)
    """SPDX name of the licence of these prompts; a release refuses rows without one."""
    preferences: bool = False
    """Rows hold a rejected and a chosen answer: these become the answer and its correction."""
    upstream_model: str = Field(default="unknown", min_length=1)
    """Who wrote the rejected answers, where the rows do not name it; goes with `preferences`."""

    @model_validator(mode="after")
    def _field_goes_with_shape(self) -> Self:
        if (self.shape == "field") != (self.field is not None):
            raise ValueError('`field` names the column of the prompt: give it with shape = "field", and only there')
        if self.path.startswith("hf://"):
            raise ValueError("hub data sets are not read directly: download the files and name them here")
        return self

    @model_validator(mode="after")
    def _preferences_go_with_shape(self) -> Self:
        if self.preferences and self.shape not in HOLDING_PREFERENCES:
            raise ValueError(
                f'shape = "{self.shape}" holds no preferences: '
                f"preferences = true goes with {', '.join(HOLDING_PREFERENCES)}"
            )
        if "upstream_model" in self.model_fields_set and not self.preferences:
            raise ValueError("`upstream_model` names who wrote the rejected answers: give it with preferences = true")
        return self
