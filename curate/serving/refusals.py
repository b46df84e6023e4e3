"""What the endpoint cannot do, told as OpenAI's API tells errors."""

import json
from collections.abc import Mapping

from schemas.errors import CurateError


class RefusedError(CurateError):
    """A request ends with this status and one sentence. kind: a word for programs, the error's `code`."""

    def __init__(self, status: int, kind: str, what: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(what)
        self.status, self.kind, self.headers = status, kind, dict(headers or {})


def error_object(error: RefusedError) -> dict[str, object]:
    """The error as OpenAI's clients read it."""
    kind = "invalid_request_error" if error.status < 500 and error.status != 429 else "server_error"
    return {"error": {"message": error.what, "type": kind, "param": None, "code": error.kind}}


def error_body(error: RefusedError) -> bytes:
    """The same as JSON in ASCII."""
    return json.dumps(error_object(error)).encode("ascii")
