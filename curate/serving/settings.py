"""How the endpoint works, as plain values."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """upstream: base URL as OpenAI's clients take it, "/v1" included.

    upstream_key: sent instead of the clients' own keys. client_key: what clients must send here; it goes no further.
    fails_open: give the upstream's answer where the Aligner fails.
    waiting_at_most: requests in the house, at the upstream or at the Aligner; more are refused.
    """

    upstream: str
    upstream_key: str | None = field(default=None, repr=False)
    client_key: str | None = field(default=None, repr=False)
    instruction: str = ""
    fails_open: bool = True
    upstream_timeout_s: float = 600.0
    aligner_timeout_s: float = 60.0
    waiting_at_most: int = 256
    new_tokens_at_most: int = 1024
    batch_rows: int = 16
    batch_wait_s: float = 0.01
    body_bytes_at_most: int = 5 * 2**20
    keep_alive_s: float = 2.0
    shutdown_s: float = 30.0
