"""How bytes reach the client: whole, drop by drop, cut, or not at all."""

import asyncio
import socket
import struct
from collections.abc import Mapping

from aiohttp import web

_LINGER_ZERO = struct.pack("ii", 1, 0)
_PIECES = 40


def whole(status: int, headers: Mapping[str, str], body: bytes) -> web.Response:
    """A normal response; JSON where `headers` say nothing else."""
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **headers})


async def dripped(request: web.Request, headers: Mapping[str, str], body: bytes, drip_s: float) -> web.StreamResponse:
    """The body in small pieces, evenly over `drip_s`."""
    response = await _begun(request, headers, body)
    size = max(1, len(body) // _PIECES)
    for start in range(0, len(body), size):
        await asyncio.sleep(drip_s * size / len(body))
        await response.write(body[start : start + size])
    return response


async def cut(request: web.Request, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
    """The length of the whole body, half of it, and the end of the connection."""
    response = await _begun(request, headers, body)
    await response.write(body[: len(body) // 2])
    return closed(request, response)


def closed(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """The connection closed in good order, without a response, or after the begun one."""
    if request.transport is not None:
        request.transport.close()
    return response or web.Response()


def reset(request: web.Request) -> web.StreamResponse:
    """The connection reset (TCP RST): a socket that does not linger is not closed in good order."""
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        request.transport.abort()
    return web.Response()


async def hang() -> None:
    """Never ends; the server cancels it when the client goes away."""
    await asyncio.Event().wait()


async def _begun(request: web.Request, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
    response.content_length = len(body)
    await response.prepare(request)
    return response
