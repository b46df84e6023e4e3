"""Errors in the words of each vendor."""

from typing import Any

from tests.llm_server.asked import Vendor
from tests.llm_server.replies import encode

_OPENAI_TYPES = {429: "requests", 500: "server_error", 503: "server_error", 529: "server_error"}
_OPENAI_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class RefusedError(Exception):
    """An endpoint cannot do what it is asked; told to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def error_object(vendor: Vendor, status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """The vendor's error object for a status; `code` replaces the usual one."""
    if vendor == "anthropic":
        error = {"type": _ANTHROPIC_TYPES.get(status, "api_error"), "message": message}
        return {"type": "error", "error": error | ({"code": code} if code else {})}
    kind = code or _OPENAI_TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code or _OPENAI_CODES.get(status)}}


def error_body(vendor: Vendor, status: int, message: str, code: str | None = None) -> bytes:
    """The same, encoded."""
    return encode(error_object(vendor, status, message, code))
