"""Which path does what."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.llm_server import anthropic_batches, openai_batches, openai_files, sending
from tests.llm_server.asked import Kind, Vendor
from tests.llm_server.completing import REQUEST_ID, complete
from tests.llm_server.errors import RefusedError, error_body
from tests.llm_server.replies import encode

if TYPE_CHECKING:
    from tests.llm_server.server import LLMServer

Endpoint = Callable[["LLMServer", web.Request], Awaitable[dict[str, Any] | web.StreamResponse]]

LARGEST_BODY_BYTES = 2**30

BATCHES: list[tuple[str, str, Vendor, Endpoint]] = [
    ("POST", "/v1/files", "openai", openai_files.upload),
    ("GET", "/v1/files", "openai", openai_files.list_files),
    ("GET", "/v1/files/{id}", "openai", openai_files.show_file),
    ("DELETE", "/v1/files/{id}", "openai", openai_files.delete_file),
    ("GET", "/v1/files/{id}/content", "openai", openai_files.content),
    ("POST", "/v1/batches", "openai", openai_batches.submit),
    ("GET", "/v1/batches", "openai", openai_batches.list_batches),
    ("GET", "/v1/batches/{id}", "openai", openai_batches.show),
    ("POST", "/v1/batches/{id}/cancel", "openai", openai_batches.stop),
    ("POST", "/v1/messages/batches", "anthropic", anthropic_batches.submit),
    ("GET", "/v1/messages/batches", "anthropic", anthropic_batches.list_batches),
    ("GET", "/v1/messages/batches/{id}", "anthropic", anthropic_batches.show),
    ("GET", "/v1/messages/batches/{id}/results", "anthropic", anthropic_batches.results),
    ("POST", "/v1/messages/batches/{id}/cancel", "anthropic", anthropic_batches.stop),
]


def application(server: "LLMServer") -> web.Application:
    """All endpoints of `server`; completions also without "/v1", as some compatible servers have them."""
    app = web.Application(client_max_size=LARGEST_BODY_BYTES)
    for kind in Kind:
        for prefix in ("/v1", ""):
            app.router.add_post(prefix + kind, partial(complete, server, kind))
    for method, path, vendor, endpoint in BATCHES:
        app.router.add_route(method, path, partial(_managed, server, vendor, endpoint))
    app.router.add_route("*", "/{path:.*}", _unknown)
    return app


async def _managed(server: "LLMServer", vendor: Vendor, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
    """An endpoint of files or batches, after its key and its listed faults."""
    headers = {REQUEST_ID[vendor]: f"req_{server.next_number()}"}
    if (key := server.refused_key(request)) is not None:
        return sending.whole(401, headers, error_body(vendor, 401, f"Incorrect API key provided: {key}"))
    if server.batch_faults:
        status, more, body = server.batch_faults.pop(0)
        return sending.whole(status, headers | more, body) if status else sending.closed(request)
    try:
        reply = await endpoint(server, request)
    except RefusedError as error:
        return sending.whole(error.status, headers, error_body(vendor, error.status, str(error)))
    return sending.whole(200, headers, encode(reply)) if isinstance(reply, dict) else reply


async def _unknown(request: web.Request) -> web.StreamResponse:
    vendor: Vendor = "anthropic" if "anthropic-version" in request.headers else "openai"
    return sending.whole(404, {}, error_body(vendor, 404, f"Unknown request URL: {request.method} {request.path}"))
