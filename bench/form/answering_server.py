"""A language model server that only waits: one fixed answer after a fixed latency.

Speaks OpenAI's and Anthropic's protocol, and may hold callers to a quota. It notes when each request came and when its
reply left, on the clock that all processes of a machine share. Prints its port first.
Usage: python answering_server.py LATENCY_S REQUESTS_PER_MINUTE (0: no quota)
"""

import asyncio
import json
import math
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import ClassVar

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
REASONS = {200: "OK", 429: "Too Many Requests"}
CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")


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


class Answering(asyncio.Protocol):
    """One connection. GET /times gives [arrived, replied, status] of each call, GET /counts their number.

    HTTP/1.1 with Content-Length and nothing else, read by hand: the server shares two cores with what it measures.
    """

    calls: ClassVar[list[tuple[float, float, int]]] = []
    latency_s: ClassVar[float] = 0.0
    quota: ClassVar[Quota | None] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where replies go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that has come whole."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = CONTENT_LENGTH.search(self._buffer, 0, end + 2)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < size:
                return
            method, path, _ = self._buffer[: self._buffer.index(b"\r\n")].decode().split(" ")
            self._buffer = self._buffer[size:]
            if method == "GET":
                self._count(path)
            else:
                self._answer(path)

    def _count(self, path: str) -> None:
        counts = {"answered": sum(call[2] == 200 for call in self.calls), "calls": len(self.calls)}
        self._send(200, json.dumps(self.calls if path == "/times" else counts).encode(), {})

    def _answer(self, path: str) -> None:
        arrived, quota = time.monotonic(), self.quota
        is_admitted = quota is None or quota.admits()
        headers = {} if quota is None else quota.headers(path)
        if not is_admitted and quota is not None:
            headers["Retry-After"] = str(quota.retry_after_s())
            self._reply(arrived, 429, REJECTION, headers)
        elif self.latency_s:
            later = asyncio.get_running_loop().call_later
            later(self.latency_s, self._reply, arrived, 200, BODIES[path], headers)
        else:
            self._reply(arrived, 200, BODIES[path], headers)

    def _reply(self, arrived: float, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.calls.append((arrived, time.monotonic(), status))
        self._send(status, body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n{lines}"
        self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


async def main(latency_s: float, requests_per_minute: float) -> None:
    """Serve until the process is ended."""
    Answering.latency_s = latency_s
    Answering.quota = Quota(requests_per_minute) if requests_per_minute else None
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), float(sys.argv[2])))
