"""A language model server on a real socket, for both protocols: it answers by a rule and fails as it is told.

Answers: "Answer to: <last user text>". A fault is a (status, headers, body) that is sent once instead of an answer.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = tuple[int, dict[str, str], bytes]

FATAL_KEY = "wrong-key"


class LLMServer:
    """Counts requests by prompt, so that double payment shows."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self.answer = lambda prompt: f"Answer to: {prompt}"
        self.finish_reason = "stop"
        self.before_answer = lambda: None
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Address of the server, without a path."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def stop(self) -> None:
        """Close the socket."""
        self._http.shutdown()
        self._http.server_close()

    def reply(self, path: str, key: str, body: dict[str, Any]) -> Fault:
        prompt = body["messages"][-1]["content"]
        with self._lock:
            self.asked[prompt] += 1
            self.bodies.append(body)
            if key == FATAL_KEY:
                return 401, {}, json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}}).encode()
            if self.faults:
                return self.faults.pop(0)
        self.before_answer()
        text, words = self.answer(prompt), len(prompt.split())
        if path.endswith("/messages"):
            reason = {"stop": "end_turn", "length": "max_tokens"}[self.finish_reason]
            usage: dict[str, Any] = {"input_tokens": words, "output_tokens": len(text.split())}
            reply: dict[str, Any] = {"content": [{"type": "text", "text": text}], "stop_reason": reason, "usage": usage}
        else:
            choice = {"message": {"role": "assistant", "content": text}, "finish_reason": self.finish_reason}
            usage = {"prompt_tokens": words, "completion_tokens": len(text.split())}
            reply = {"choices": [choice], "usage": usage}
        return 200, {}, json.dumps(reply).encode()


@contextmanager
def llm_server() -> Iterator[LLMServer]:
    """A running server."""
    server = LLMServer()
    try:
        yield server
    finally:
        server.stop()


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no news."""


def _handler(server: LLMServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, headers, content = server.reply(self.path, key, body)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Handler
