"""The table of `train.lora`."""

from pydantic import Field

from curate.config.table import Table


class LoraConfig(Table):
    """`lora = { … }` of `[pipelines.NAME.train]`: small adapters learn, the base's weights stay (extra `lora`)."""

    rank: int = Field(default=16, ge=1, le=65_536)
    """Rows of an adapter: how much it can change."""
    alpha: int = Field(default=32, ge=1, le=1_000_000)
    """An adapter's part is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of an adapter's inputs that is left out at each step of training."""
    targets: tuple[str, ...] = ()
    """Linear layers that get adapters, such as `["q_proj", "v_proj"]`; empty: all but the head."""
