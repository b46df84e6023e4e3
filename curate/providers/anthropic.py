"""Anthropic's messages protocol."""

from collections.abc import Sequence
from typing import Any

import msgspec

from curate.identity import request_key
from curate.providers.endpoint import Endpoint
from curate.providers.faults import as_request_error, decoded, extra_missing, without_key
from schemas.errors import RequestError
from schemas.records import Completion, CompletionRequest, Sampling, Turn

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class AnthropicProvider:
    """One model behind one base URL. The SDK carries authentication and connections; it neither retries nor parses."""

    kind = "anthropic"

    def __init__(self, model: str, sampling: Sampling, endpoint: Endpoint) -> None:
        try:
            import anthropic
            import httpx2
        except ImportError as error:
            raise extra_missing("anthropic") from error
        self._model, self._sampling, self._key = model, sampling, endpoint.key
        self._response_type = httpx2.Response
        self._errors = anthropic.AnthropicError
        limits = httpx2.Limits(max_connections=endpoint.max_in_flight, max_keepalive_connections=endpoint.max_in_flight)
        self._client = anthropic.AsyncAnthropic(
            api_key=endpoint.key,
            base_url=endpoint.base_url or "https://api.anthropic.com",
            max_retries=0,
            timeout=endpoint.timeout_s,
            http_client=anthropic.DefaultAioHttpClient(timeout=endpoint.timeout_s, limits=limits),
        )

    def request(self, turns: Sequence[Turn], sample_index: int = 0) -> CompletionRequest:
        """System turns become the `system` field; seed and repetition_penalty do not exist in this protocol."""
        system = "\n\n".join(turn.text for turn in turns if turn.role == "system")
        sampling = self._sampling
        settings = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        body = msgspec.json.encode(
            {
                "model": self._model,
                "max_tokens": sampling.max_tokens,
                **({"system": system} if system else {}),
                "messages": [{"role": turn.role, "content": turn.text} for turn in turns if turn.role != "system"],
                **{name: value for name, value in settings.items() if value is not None},
            }
        )
        return CompletionRequest(request_key(self.kind, self._model, body, sample_index), self.kind, self._model, body)

    async def complete(self, request: CompletionRequest) -> bytes:
        """The raw reply. Raises RequestError or one of its kinds."""
        try:
            response = await self._client.post(
                "/v1/messages",
                content=request.body,
                cast_to=self._response_type,
                options={"headers": {"Content-Type": "application/json"}},
            )
        except self._errors as error:
            raise as_request_error(error, self._key) from error
        return without_key(bytes(response.content), self._key)

    def read(self, response: bytes) -> Completion:
        """All text blocks. Raises RequestError of kind malformed or error_reply."""
        reply: Any = decoded(response)
        try:
            text = "".join(block["text"] for block in reply["content"] if block["type"] == "text")
            usage = reply.get("usage") or {}
            reason = FINISH_REASONS.get(reply.get("stop_reason") or "end_turn", "other")
            cached = (usage.get("cache_read_input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0)
            input_tokens = usage.get("input_tokens")
            total = None if input_tokens is None else input_tokens + cached
            return Completion(text, reason, total, usage.get("output_tokens"))
        except (KeyError, TypeError, AttributeError) as error:
            raise RequestError("malformed", f"no content in the reply: {response[:300]!r}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
