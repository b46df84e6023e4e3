"""What an SDK's error means for a request: passing, permanent, or the end of the provider."""

import json
import math
from typing import Any

import msgspec

from schemas.errors import MissingExtraError, ProviderBusyError, ProviderDownError, RequestError

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
SHORTEST_RETRY_AFTER_S = 0.05
LONGEST_RETRY_AFTER_S = 120.0


def as_request_error(error: Exception, key: str) -> RequestError:
    """Our error for an SDK's; the server's words are kept, the key is cut out of them."""
    status = getattr(error, "status_code", None)
    response = getattr(error, "response", None)
    words = str(getattr(response, "text", "") or error).replace(key, "***") if key != "none" else str(error)
    words = words[:2000]
    if status is None:
        is_timeout = "Timeout" in type(error).__name__
        return ProviderBusyError("timeout" if is_timeout else "unreachable", words)
    if status in {401, 403}:
        return ProviderDownError("unauthorized", f"{status}: {words}")
    if status == 402 or (status == 429 and "insufficient_quota" in words):
        return ProviderDownError("no_quota", f"{status}: {words}")
    if status == 404:
        return ProviderDownError("not_found", f"{status}: {words}")
    if status in PASSING:
        kind = "rate_limited" if status in {429, 529} else "server_error"
        return ProviderBusyError(kind, f"{status}: {words}", _retry_after_s(response))
    return RequestError("refused_request", f"{status}: {words}")


def decoded(response: bytes) -> Any:
    """A reply's JSON object. Raises RequestError of kind malformed, or error_reply where it holds an error."""
    try:
        reply = msgspec.json.decode(response)
    except (msgspec.DecodeError, RecursionError):
        try:
            reply = json.loads(response.decode("utf-8", errors="replace"))
        except (ValueError, RecursionError) as error:
            raise RequestError("malformed", f"not JSON: {response[:300]!r}") from error
    if isinstance(reply, dict) and reply.get("error"):
        raise RequestError("error_reply", str(reply["error"])[:2000])
    return reply


def check_unicode(text: str) -> None:
    """Raises RequestError of kind invalid_unicode where a text cannot be stored: models cut emoji in the middle."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError("invalid_unicode", "the reply holds half of a surrogate pair") from error


def without_key(response: bytes, key: str) -> bytes:
    """The raw reply; a server that repeats the key in it does not bring it into the ledger."""
    return response if key == "none" else response.replace(key.encode("utf-8"), b"***")


def extra_missing(library: str) -> MissingExtraError:
    """The error for an SDK that is not installed."""
    return MissingExtraError(f"the {library} provider", library, "llm")


def _retry_after_s(response: Any) -> float | None:
    try:
        asked_s = float(response.headers["retry-after"])
    except (KeyError, ValueError, AttributeError):
        return None
    return min(max(asked_s, SHORTEST_RETRY_AFTER_S), LONGEST_RETRY_AFTER_S) if math.isfinite(asked_s) else None
