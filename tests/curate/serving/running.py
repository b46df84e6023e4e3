"""The endpoint in a thread, on a free port, and what tests ask it."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import uvicorn

from curate.serving.app import make_app
from curate.serving.running import listen
from curate.serving.settings import Settings
from curate.training.aligner import Aligner


@dataclass(frozen=True)
class Serving:
    """A running endpoint; `url` without a path."""

    url: str

    def client(self, key: str = "key") -> openai.OpenAI:
        """The vendor's own SDK on it."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def asked(self, text: str, **more: Any) -> Any:
        """The first choice's message to one user turn."""
        with self.client() as client:
            return client.chat.completions.create(**chat(text), **more).choices[0].message

    def post(self, body: bytes | dict[str, Any], path: str = "/v1/chat/completions", **more: Any) -> httpx2.Response:
        """The bare response to a body."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx2.post(self.url + path, content=content, timeout=60, **more)

    def get(self, path: str) -> httpx2.Response:
        """The bare response."""
        return httpx2.get(self.url + path, timeout=60)

    def metric(self, line: str) -> int:
        """The value of one line of /metrics, 0 where there is none."""
        values = [one.split()[-1] for one in self.get("/metrics").text.splitlines() if one.startswith(f"{line} ")]
        return int(values[0]) if values else 0


def chat(text: str) -> dict[str, Any]:
    """A chat of one user turn."""
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def until(is_so: Any, within_s: float = 20.0) -> None:
    """Wait until something holds."""
    ends_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


@contextmanager
def serving(aligners: Sequence[Aligner], **settings: Any) -> Iterator[Serving]:
    """A running endpoint. Corrections have 24 tokens, as the tests' texts are short."""
    made = Settings(**{"new_tokens_at_most": 24, "shutdown_s": 5.0, **settings})
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(make_app(aligners, made), log_config=None, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield Serving(f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
