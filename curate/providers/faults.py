"""What an SDK's error means for a request: passing, permanent, or the end of the provider."""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from curate.providers.limits import rate_limits, retry_after_s
from schemas.errors import MissingExtraError, ProviderBusyError, ProviderDownError, RequestError
from schemas.records import Response

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
RATE_LIMITED = {429, 529}
SHORTEST_SECRET = 8
"""A shorter key ("EMPTY", "test") is a placeholder for a server that checks none, and a word that answers may hold."""

UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, msgspec.DecodeError)
"""What an SDK or a parser raises at a web page, or at JSON of another shape, that was sent as a success."""


def as_request_error(error: Exception, key: str) -> RequestError:
    """Our error for an SDK's; the server's words are kept, the key is cut out of them."""
    status = getattr(error, "status_code", None)
    response = getattr(error, "response", None)
    if status is None or response is None:
        return _without_status(error, key)
    return by_status(status, as_response(bytes(response.content), response.headers, key), response.headers)


def as_response(body: bytes, headers: Mapping[str, str], key: str) -> Response:
    """A raw reply; a server that repeats the key in its body or as its id does not bring it into the ledger."""
    request_id = headers.get("x-request-id") or headers.get("request-id") or ""
    request_id = masked(request_id.encode("ascii", "replace").decode("ascii"), key)
    return Response(without_key(body, key), request_id, rate_limits(headers))


def without_key(body: bytes, key: str) -> bytes:
    """Raw bytes without the key."""
    return body.replace(key.encode("utf-8"), b"***") if len(key) >= SHORTEST_SECRET else body


def by_status(status: int, reply: Response, headers: Mapping[str, str]) -> RequestError:
    """Our error for a reply that is no success."""
    words = f"{status}: {reply.body[:2000].decode('utf-8', errors='replace')}"
    found = _kind(status, words, headers)
    found.response = reply
    return found


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


def unreadable_line(raw: bytes) -> tuple[str, RequestError]:
    """A line of a batch's results that is not what the protocol says, under the call that it names, if any."""
    named = re.search(rb'"custom_id"\s*:\s*"([0-9a-f]{64})"', raw)
    error = ProviderBusyError("malformed", f"a line of the results cannot be read: {raw[:300]!r}")
    error.response, error.is_possibly_paid = Response(raw), True
    return named.group(1).decode("ascii") if named else "", error


def as_table(told: object) -> dict[str, Any]:
    """A JSON object, empty where a server told something else: an odd usage does not make an answer malformed."""
    return told if isinstance(told, dict) else {}


def extra_missing(library: str) -> MissingExtraError:
    """The error for an SDK that is not installed."""
    return MissingExtraError(f"the {library} provider", library, "llm")


def _kind(status: int, words: str, headers: Mapping[str, str]) -> RequestError:
    if 300 <= status < 400:
        return ProviderDownError("redirected", f"{words}: base_url must be the final address")
    if status in {401, 403}:
        return ProviderDownError("unauthorized", words)
    if status == 402 or (status == 429 and "insufficient_quota" in words):
        return ProviderDownError("no_quota", words)
    if status == 404:
        return ProviderDownError("not_found", words)
    if status in PASSING:
        kind = "rate_limited" if status in RATE_LIMITED else "overloaded" if status == 503 else "server_error"
        return ProviderBusyError(kind, words, retry_after_s(headers))
    return RequestError("refused_request", words)


def _without_status(error: Exception, key: str) -> RequestError:
    """No reply came. A connection that was never made cost nothing; one that broke may have."""
    words = masked(str(error), key)
    if isinstance(error, UNREADABLE):
        unreadable = ProviderBusyError("malformed", f"not the reply that was asked for: {words}"[:2000])
        unreadable.is_possibly_paid = True
        return unreadable
    cause = error.__cause__
    detail = f"{words} ({masked(str(cause), key)})" if cause is not None and str(cause) else words
    if type(cause).__name__ in {"ConnectError", "ConnectTimeout"}:
        return ProviderBusyError("unreachable", detail[:2000])
    if "Timeout" in type(error).__name__:
        found = ProviderBusyError("timeout", detail[:2000])
    else:
        found = ProviderBusyError("connection_lost", detail[:2000])
    found.is_possibly_paid = True
    return found


def masked(text: str, key: str) -> str:
    """A text without the key."""
    return text.replace(key, "***") if len(key) >= SHORTEST_SECRET else text
