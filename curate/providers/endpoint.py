"""Where and how a server is reached."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address and what it may be asked at once; without `base_url` the vendor's own API.

    The key is kept out of repr, so no traceback or log can show it.
    """

    key: str
    base_url: str | None = None
    timeout_s: float = 600.0
    max_in_flight: int = 32

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url or 'the vendor'})"
