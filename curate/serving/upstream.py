"""The model whose answers are corrected, over HTTP. No key is kept, logged or told in an error."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from curate.serving.refusals import RefusedError
from curate.serving.settings import Settings
from curate.serving.streaming import event_of_error

CONNECT_TIMEOUT_S = 10.0
REACH_TIMEOUT_S = 2.0
SENT_HEADERS = (b"authorization", b"api-key", b"content-type", b"accept", b"user-agent")
SENT_PREFIXES = (b"openai-", b"x-request-id")
KEYS = (b"authorization", b"api-key")
KEPT_HEADERS = (b"content-type", b"content-disposition", b"retry-after", b"retry-after-ms", b"x-should-retry")
KEPT_PREFIXES = (b"openai-", b"x-ratelimit-", b"x-request-id")

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply of the upstream."""

    status: int
    headers: Headers
    content: bytes


@dataclass(frozen=True, slots=True)
class Flow:
    """A reply whose body is yet to come; events are an event stream's bytes."""

    status: int
    headers: Headers
    events: AsyncIterator[bytes]


class Upstream:
    """One server under a base URL."""

    def __init__(self, settings: Settings) -> None:
        import httpx2

        self._base, self._settings = settings.upstream.rstrip("/"), settings
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(settings.upstream_timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=settings.waiting_at_most),
            follow_redirects=False,
        )

    async def ask(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Reply:
        """The whole reply, of any status. Raises RefusedError: 502 where there is none, 504 where it takes too long."""
        found = await self.open(method, path, headers, body)
        return found if isinstance(found, Reply) else await self._gathered(found)

    async def open(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Reply | Flow:
        """The reply; one that is an event stream as soon as it begins. Raises RefusedError as `ask`."""
        import httpx2

        request = self._client.build_request(method, self._base + path, headers=self._headers(headers), content=body)
        try:
            async with asyncio.timeout(self._settings.upstream_timeout_s):
                response = await self._client.send(request, stream=True)
                kept = _kept(response.headers.raw, KEPT_HEADERS, KEPT_PREFIXES)
                if response.headers.get("content-type", "").startswith("text/event-stream"):
                    return Flow(response.status_code, kept, _events(response))
                try:
                    return Reply(response.status_code, kept, await response.aread())
                finally:
                    await response.aclose()
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise _too_slow(self._settings) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _died(error) from error

    async def is_reachable(self) -> bool:
        """Whether something listens there; no request is sent."""
        address = urlsplit(self._base)
        port = address.port or {"http": 80, "https": 443}.get(address.scheme, 0)
        try:
            async with asyncio.timeout(REACH_TIMEOUT_S):
                _, writer = await asyncio.open_connection(address.hostname, port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _gathered(self, flow: Flow) -> Reply:
        """An event stream although none was asked for."""
        try:
            async with asyncio.timeout(self._settings.upstream_timeout_s):
                return Reply(flow.status, flow.headers, b"".join([event async for event in flow.events]))
        except TimeoutError as error:
            raise _too_slow(self._settings) from error

    def _headers(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        kept = _kept(headers, SENT_HEADERS, SENT_PREFIXES)
        if self._settings.upstream_key is None and self._settings.client_key is None:
            return kept
        keyless = [(name, value) for name, value in kept if name not in KEYS]
        if self._settings.upstream_key is None:
            return keyless
        return [(b"authorization", b"Bearer " + self._settings.upstream_key.encode("ascii")), *keyless]


def _kept(headers: Iterable[tuple[bytes, bytes]], names: tuple[bytes, ...], prefixes: tuple[bytes, ...]) -> Headers:
    lower = ((name.lower(), value) for name, value in headers)
    return [(name, value) for name, value in lower if name in names or name.startswith(prefixes)]


async def _events(response: Any) -> AsyncIterator[bytes]:
    """The body as it comes; one that breaks off ends with an event that says so."""
    import httpx2

    try:
        async for piece in response.aiter_bytes():
            yield piece
    except httpx2.HTTPError as error:
        yield b"\n\n" + event_of_error(_died(error))
    finally:
        await response.aclose()


def _died(error: Exception) -> RefusedError:
    """Only the kind of the error is told: its words may hold an address with a key in it."""
    what = f"The upstream model's server cannot be reached or broke off its reply ({type(error).__name__})."
    return RefusedError(502, "upstream_failed", what)


def _too_slow(settings: Settings) -> RefusedError:
    what = f"The upstream model's server gave no whole reply within {settings.upstream_timeout_s:g} s."
    return RefusedError(504, "upstream_timeout", what)
