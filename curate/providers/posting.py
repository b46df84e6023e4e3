"""Posts request bodies to one server, and says how an SDK is made for what is more than that: files and batches.

A plain call needs an address, a key's header and a body. Over the SDK's own HTTP library alone it takes a third of the
CPU time (2,000 calls at 256 in flight on 2026-11-24: 1.7 ms a call by openai 3.54.0, 0.5 ms so), and a run starts
without importing the SDK: half a second for openai, two for anthropic.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from curate.providers.endpoint import Endpoint
from curate.providers.faults import as_response, by_status, extra_missing, masked
from schemas.errors import ProviderBusyError
from schemas.records import Response

LONGEST_CONNECT_S = 30.0


class Posting:
    """Posts to paths under a base URL. headers: what tells the server who calls; the body's type is added."""

    def __init__(self, endpoint: Endpoint, base_url: str, headers: Mapping[str, str]) -> None:
        try:
            import aiohttp  # noqa: F401  a missing library is told before anything is planned
        except ImportError as error:
            raise extra_missing("aiohttp") from error
        self._endpoint, self._base_url = endpoint, base_url.rstrip("/")
        self._headers = {**headers, "Accept": "application/json", "Content-Type": "application/json"}
        self._proxy = _proxy(self._base_url)
        self._session: Any = None

    async def post(self, path: str, body: bytes) -> Response:
        """The raw reply. Raises RequestError or one of its kinds."""
        import aiohttp

        key = self._endpoint.key
        if self._session is None:
            self._session = self._opened()
        try:
            async with self._session.post(
                self._base_url + path, data=body, proxy=self._proxy, allow_redirects=False
            ) as response:
                content = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ProviderBusyError("unreachable", masked(str(error), key)) from error
        except TimeoutError as error:
            raise _not_answered("timeout", error, key) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _not_answered("connection_lost", error, key) from error
        reply = as_response(content, response.headers, key)
        if response.status != 200:
            raise by_status(response.status, reply, response.headers)
        return reply

    def _opened(self) -> Any:
        import aiohttp

        return aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=self._endpoint.max_in_flight),
            timeout=aiohttp.ClientTimeout(
                total=self._endpoint.timeout_s, sock_connect=min(LONGEST_CONNECT_S, self._endpoint.timeout_s)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def sdk_options(endpoint: Endpoint) -> dict[str, Any]:
    """How an SDK's HTTP client is made: as many connections as calls in flight, no host but the configured one."""
    import httpx2

    limits = httpx2.Limits(max_connections=endpoint.max_in_flight, max_keepalive_connections=endpoint.max_in_flight)
    return {"timeout": endpoint.timeout_s, "limits": limits, "follow_redirects": False}


def _proxy(url: str) -> str | None:
    """What the environment's HTTP_PROXY, HTTPS_PROXY and NO_PROXY say; looked up once, not in each call."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _not_answered(kind: str, error: Exception, key: str) -> ProviderBusyError:
    found = ProviderBusyError(kind, masked(f"{type(error).__name__}: {error}", key)[:2000])
    found.is_possibly_paid = True
    return found
