"""OpenAI's chat protocol, as spoken by OpenAI, vLLM, TGI, Ollama, llama.cpp and others."""

from collections.abc import Sequence
from typing import Any

import msgspec

from curate.identity import request_key
from curate.providers.endpoint import Endpoint
from curate.providers.faults import as_request_error, decoded, extra_missing, without_key
from schemas.errors import RequestError
from schemas.records import Completion, CompletionRequest, Sampling, Turn

FINISH_REASONS = {"stop": "stop", "length": "length", "content_filter": "content_filter"}


class OpenAIProvider:
    """One model behind one base URL. The SDK carries authentication and connections; it neither retries nor parses."""

    kind = "openai"

    def __init__(self, model: str, sampling: Sampling, endpoint: Endpoint) -> None:
        try:
            import httpx2
            import openai
        except ImportError as error:
            raise extra_missing("openai") from error
        self._model, self._sampling, self._key = model, sampling, endpoint.key
        self._response_type = httpx2.Response
        self._errors = openai.OpenAIError
        limits = httpx2.Limits(max_connections=endpoint.max_in_flight, max_keepalive_connections=endpoint.max_in_flight)
        self._client = openai.AsyncOpenAI(
            api_key=endpoint.key,
            base_url=endpoint.base_url or "https://api.openai.com/v1",
            max_retries=0,
            timeout=endpoint.timeout_s,
            http_client=openai.DefaultAioHttpClient(timeout=endpoint.timeout_s, limits=limits),
        )

    def request(self, turns: Sequence[Turn], sample_index: int = 0) -> CompletionRequest:
        """Settings that OpenAI itself does not know (top_k, repetition_penalty) are sent only where configured."""
        sampling = self._sampling
        settings = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "top_k": sampling.top_k,
            "repetition_penalty": sampling.repetition_penalty,
        }
        body = msgspec.json.encode(
            {
                "model": self._model,
                "messages": [{"role": turn.role, "content": turn.text} for turn in turns],
                **{name: value for name, value in settings.items() if value is not None},
            }
        )
        return CompletionRequest(request_key(self.kind, self._model, body, sample_index), self.kind, self._model, body)

    async def complete(self, request: CompletionRequest) -> bytes:
        """The raw reply. Raises RequestError or one of its kinds."""
        try:
            response = await self._client.post(
                "/chat/completions",
                content=request.body,
                cast_to=self._response_type,
                options={"headers": {"Content-Type": "application/json"}},
            )
        except self._errors as error:
            raise as_request_error(error, self._key) from error
        return without_key(bytes(response.content), self._key)

    def read(self, response: bytes) -> Completion:
        """The first choice. Raises RequestError of kind malformed or error_reply."""
        reply: Any = decoded(response)
        try:
            choice = reply["choices"][0]
            text = choice["message"]["content"] or choice["message"].get("refusal") or ""
            if not isinstance(text, str):
                text = "".join(part["text"] for part in text if part.get("type") == "text")
            usage = reply.get("usage") or {}
            reason = FINISH_REASONS.get(choice.get("finish_reason") or "stop", "other")
            return Completion(str(text), reason, usage.get("prompt_tokens"), usage.get("completion_tokens"))
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise RequestError("malformed", f"no choice in the reply: {response[:300]!r}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
