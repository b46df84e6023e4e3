"""A language model server that only waits: one fixed answer after a fixed latency.

Speaks OpenAI's and Anthropic's protocol, and may hold callers to a quota. It notes when each request came and when its
reply left, on the clock that all processes of a machine share. Prints its port first.
Usage: python answering_server.py LATENCY_S REQUESTS_PER_MINUTE (0: no quota)
"""

import asyncio
import json
import math
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from aiohttp import web

ANSWER = (
    "That depends on how much time there is. Start with the smallest part that works alone, try it on a quiet day, "
    "write down what went wrong, and ask somebody who has done it before to read your notes."
)
BODIES = {
    "/v1/chat/completions": json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "made-up",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"},
            ],
            "usage": {"prompt_tokens": 20, "completion_tokens": 40, "total_tokens": 60},
        }
    ).encode(),
    "/v1/messages": json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "made-up",
            "content": [{"type": "text", "text": ANSWER}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 20, "output_tokens": 40},
        }
    ).encode(),
}
REJECTION = json.dumps(
    {"type": "error", "error": {"type": "rate_limit_error", "message": "too many requests"}}
).encode()


class Quota:
    """A token bucket: it fills evenly and holds one second of the quota, so that no burst is longer than that."""

    def __init__(self, requests_per_minute: float) -> None:
        self.per_minute = requests_per_minute
        self._per_s = requests_per_minute / 60
        self._held = self._capacity = max(1.0, self._per_s)
        self._filled_at = time.monotonic()

    def admits(self) -> bool:
        """Whether one more request may pass now; it is then counted."""
        now = time.monotonic()
        self._held = min(self._capacity, self._held + (now - self._filled_at) * self._per_s)
        self._filled_at = now
        if self._held < 1:
            return False
        self._held -= 1
        return True

    def headers(self, path: str) -> dict[str, str]:
        """The state of the bucket, in the words of the protocol that was spoken."""
        remaining, reset_s = str(int(self._held)), (self._capacity - self._held) / self._per_s
        if path == "/v1/messages":
            return {
                "anthropic-ratelimit-requests-limit": f"{self.per_minute:.0f}",
                "anthropic-ratelimit-requests-remaining": remaining,
                "anthropic-ratelimit-requests-reset": (datetime.now(UTC) + timedelta(seconds=reset_s)).isoformat(),
            }
        return {
            "x-ratelimit-limit-requests": f"{self.per_minute:.0f}",
            "x-ratelimit-remaining-requests": remaining,
            "x-ratelimit-reset-requests": f"{math.ceil(reset_s * 1000)}ms",
        }

    def retry_after_s(self) -> int:
        """Whole seconds, as the header wants them, until a request is sure to find a token."""
        return max(1, math.ceil((1 - self._held) / self._per_s))


def answering(latency_s: float, quota: Quota | None) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """The handler of all requests. GET /times gives [arrived, replied, status] of each call, GET /counts their number.

    One function and no router: the server shares the machine with what it measures.
    """
    calls: list[tuple[float, float, int]] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            counts = {"answered": sum(call[2] == 200 for call in calls), "calls": len(calls)}
            return web.json_response(calls if request.path == "/times" else counts)
        arrived = time.monotonic()
        path = request.path
        is_admitted = quota is None or quota.admits()
        headers = {} if quota is None else quota.headers(path)
        await request.read()
        if not is_admitted and quota is not None:
            headers["Retry-After"] = str(quota.retry_after_s())
            calls.append((arrived, time.monotonic(), 429))
            return web.Response(status=429, body=REJECTION, headers=headers, content_type="application/json")
        if latency_s:
            await asyncio.sleep(latency_s)
        calls.append((arrived, time.monotonic(), 200))
        return web.Response(body=BODIES[path], headers=headers, content_type="application/json")

    return handle


async def main(latency_s: float, requests_per_minute: float) -> None:
    """Serve until the process is ended."""
    quota = Quota(requests_per_minute) if requests_per_minute else None
    runner = web.ServerRunner(web.Server(answering(latency_s, quota), access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), float(sys.argv[2])))
