"""Where a server is, how it is reached and what is sent along with each prompt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server wants beside the protocol: more fields, another name of max_tokens, plain text instead of roles."""

    extra_body: Mapping[str, Any] = field(default_factory=dict)
    max_tokens_name: str = "max_tokens"
    protocol: str = "chat"
    prompt_template: str = "{prompt}"
