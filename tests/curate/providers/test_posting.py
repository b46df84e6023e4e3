"""What we send is what the vendor's SDK would send: the same address, key and version, the same body."""

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from curate.providers.anthropic import AnthropicProvider
from curate.providers.endpoint import Dialect, Endpoint
from curate.providers.openai import OpenAIProvider
from schemas.errors import RequestError
from schemas.records import Provider, Sampling, Turn

KEY = "sk-of-this-test-alone"
SAID = [Turn("user", "What is a grapheme — 𝛼?")]
WHO_CALLS = ("Authorization", "X-Api-Key", "anthropic-version", "OpenAI-Organization", "OpenAI-Project")

Seen = list[tuple[str, dict[str, str | None], bytes]]


@pytest.fixture
def listener() -> Iterator[tuple[str, Seen]]:
    """A server that takes down what it is sent, and answers 400."""
    seen: Seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, {name: self.headers[name] for name in (*WHO_CALLS, "Content-Type")}, body))
            self.send_response(400)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


async def refused(provider: Provider) -> None:
    with pytest.raises(RequestError, match="400"):
        await provider.complete(provider.request(SAID))
    await provider.close()


def test_openai_is_sent_what_its_sdk_sends(listener, monkeypatch):
    import openai

    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    url, seen = listener
    provider = OpenAIProvider("m", Sampling(temperature=0.5), Endpoint(KEY, f"{url}/v1"), Dialect())
    asyncio.run(refused(provider))
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as sdk, pytest.raises(openai.BadRequestError):
        sdk.chat.completions.create(
            model="m", messages=[{"role": "user", "content": SAID[0].text}], max_tokens=2048, temperature=0.5
        )
    assert seen[0] == seen[1]
    assert seen[0][1]["Authorization"] == f"Bearer {KEY}"


def test_anthropic_is_sent_what_its_sdk_sends(listener):
    import anthropic

    url, seen = listener
    provider = AnthropicProvider("m", Sampling(max_tokens=64), Endpoint(KEY, url), {})
    asyncio.run(refused(provider))
    with (
        anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as sdk,
        pytest.raises(anthropic.BadRequestError),
    ):
        sdk.messages.create(model="m", max_tokens=64, messages=[{"role": "user", "content": SAID[0].text}])
    (path, headers, body), (sdk_path, sdk_headers, sdk_body) = seen
    assert (path, headers) == (sdk_path, sdk_headers)
    assert json.loads(body) == json.loads(sdk_body)
    assert headers["Authorization"] == f"Bearer {KEY}"
