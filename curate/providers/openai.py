"""OpenAI's protocol, chat and plain completions, as spoken by OpenAI, vLLM, TGI, Ollama, llama.cpp and others."""

import os
from collections.abc import AsyncIterator, Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from curate.identity import request_key
from curate.providers.endpoint import Dialect, Endpoint
from curate.providers.faults import (
    UNREADABLE,
    as_request_error,
    as_table,
    by_status,
    decoded,
    extra_missing,
    masked,
    unreadable_line,
    without_key,
)
from curate.providers.lines import json_lines
from curate.providers.posting import Posting, sdk_options
from schemas.errors import ProviderBusyError, RequestError
from schemas.records import BatchState, Completion, CompletionRequest, Response, Sampling, Turn

if TYPE_CHECKING:
    import openai

FINISH_REASONS = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "content_filter": "content_filter",
}
PATHS = {"chat": "/chat/completions", "completions": "/completions"}
ENDED = {"completed", "failed", "expired", "cancelled"}
MARK = "curate_batch"
CLOCK_SKEW_S = 300.0
ENCODE = msgspec.json.Encoder().encode


class OpenAIProvider:
    """One model behind one base URL. Calls are posted as they are; the SDK is there for batches."""

    kind = "openai"

    def __init__(self, model: str, sampling: Sampling, endpoint: Endpoint, dialect: Dialect) -> None:
        self._model, self._sampling, self._endpoint, self._dialect = model, sampling, endpoint, dialect
        self._key, self._base_url = endpoint.key, endpoint.base_url or "https://api.openai.com/v1"
        self._bodies: dict[int, tuple[bytes, bytes]] = {}
        self._path = PATHS[dialect.protocol]
        self._posting = Posting(endpoint, self._base_url, _headers(endpoint))

    @cached_property
    def _sdk(self) -> "tuple[openai.AsyncOpenAI, tuple[type[Exception], ...]]":
        """The SDK, which knows files and batches, and what it raises. Raises MissingExtraError."""
        try:
            import aiohttp
            import httpx2
            import openai
        except ImportError as error:
            raise extra_missing("openai") from error
        client = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self._base_url,
            max_retries=0,
            timeout=self._endpoint.timeout_s,
            http_client=openai.DefaultAioHttpClient(**sdk_options(self._endpoint)),
        )
        return client, (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError, *UNREADABLE)

    def request(self, turns: Sequence[Turn], sample_index: int = 0) -> CompletionRequest:
        """Settings that OpenAI itself does not know (top_k, repetition_penalty) are sent only where configured."""
        around = self._bodies.get(sample_index)
        if around is None:
            around = self._bodies[sample_index] = self._body_around(sample_index)
        if self._dialect.protocol == "chat":
            said = ENCODE(turns)
        else:
            said = ENCODE(self._dialect.prompt_template.replace("{prompt}", plain_text(turns)))
        body = said.join(around)
        return CompletionRequest(request_key(self.kind, self._model, body, sample_index), self.kind, self._model, body)

    def _body_around(self, sample_index: int) -> tuple[bytes, bytes]:
        """What stands before and after the dialogue in all bodies: encoded once."""
        sampling, dialect = self._sampling, self._dialect
        settings = {
            dialect.max_tokens_name: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": None if sampling.seed is None else sampling.seed + sample_index,
            "top_k": sampling.top_k,
            "repetition_penalty": sampling.repetition_penalty,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        field = "messages" if dialect.protocol == "chat" else "prompt"
        before = msgspec.json.encode({"model": self._model, field: 0})[:-2]
        return before, b"," + msgspec.json.encode({**given, **dialect.extra_body})[1:]

    async def complete(self, request: CompletionRequest) -> Response:
        """The raw reply. Raises RequestError or one of its kinds."""
        return await self._posting.post(self._path, request.body)

    def read(self, response: bytes) -> Completion:
        """The first choice. Raises RequestError of kind malformed or error_reply."""
        reply: Any = decoded(response)
        try:
            choice = reply["choices"][0]
            reason = FINISH_REASONS.get(choice.get("finish_reason") or "stop", "other")
            if "message" in choice:
                text = choice["message"]["content"] or ""
                if not text and choice["message"].get("refusal"):
                    text, reason = choice["message"]["refusal"], "refusal"
            else:
                text = choice["text"]
            if not isinstance(text, str):
                text = "".join(part["text"] for part in text if part.get("type") == "text")
            usage = as_table(reply.get("usage"))
            cached = as_table(usage.get("prompt_tokens_details")).get("cached_tokens")
            tokens = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
            return Completion(text, reason, *tokens, model=str(reply.get("model") or ""))
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise RequestError("malformed", f"no choice in the reply: {response[:300]!r}") from error

    async def submit_batch(self, requests: Sequence[CompletionRequest], mark: str) -> str:
        """Hand calls over as one batch that carries our mark; its id. Raises RequestError."""
        lines = [
            msgspec.json.encode(
                {
                    "custom_id": request.request_id,
                    "method": "POST",
                    "url": f"/v1{self._path}",
                    "body": msgspec.Raw(request.body),
                }
            )
            for request in requests
        ]
        endpoint: Any = f"/v1{self._path}"
        client, errors = self._sdk
        try:
            file = await client.files.create(file=(f"{mark}.jsonl", b"\n".join(lines)), purpose="batch")
            batch = await client.batches.create(
                completion_window="24h", endpoint=endpoint, input_file_id=file.id, metadata={MARK: mark}
            )
        except errors as error:
            raise as_request_error(error, self._key) from error
        return batch.id

    async def find_batch(
        self, mark: str, request_ids: Collection[str], since: float, taken: Collection[str]
    ) -> str | None:
        """The batch with our mark, if the provider has one. Raises RequestError."""
        del request_ids, taken
        client, errors = self._sdk
        try:
            async for batch in client.batches.list(limit=100):
                if (batch.metadata or {}).get(MARK) == mark:
                    return batch.id
                if batch.created_at < since - CLOCK_SKEW_S:
                    return None
        except errors as error:
            raise as_request_error(error, self._key) from error
        return None

    async def batch_state(self, remote_id: str) -> BatchState:
        """How far a batch is. Raises RequestError."""
        client, errors = self._sdk
        try:
            batch = await client.batches.retrieve(remote_id)
        except errors as error:
            raise as_request_error(error, self._key) from error
        counts = batch.request_counts
        words = "; ".join(str(one.message) for one in (batch.errors.data or [])) if batch.errors else ""
        done = counts.completed + counts.failed if counts else 0
        return BatchState(batch.status in ENDED, batch.status, done, masked(words, self._key)[:2000])

    async def batch_results(self, remote_id: str) -> AsyncIterator[tuple[str, Response | RequestError]]:
        """Each finished call by request id: its reply, or what went wrong with it. Raises RequestError."""
        client, errors = self._sdk
        try:
            batch = await client.batches.retrieve(remote_id)
            for file_id in (batch.output_file_id, batch.error_file_id):
                if file_id is None:
                    continue
                async with client.files.with_streaming_response.content(file_id) as stream:
                    async for line in json_lines(stream.iter_bytes()):
                        yield _batch_result(without_key(line, self._key))
        except errors as error:
            raise as_request_error(error, self._key) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._posting.close()
        if "_sdk" in self.__dict__:
            await self._sdk[0].close()


def _headers(endpoint: Endpoint) -> dict[str, str]:
    """As the SDK sends them; like it, the vendor's variables may name an organisation and a project."""
    named = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
    told = {name: os.environ.get(variable, "").strip() for name, variable in named.items()}
    given = {name: value for name, value in told.items() if value and value.isascii() and value.isprintable()}
    return {"Authorization": f"Bearer {endpoint.key}", **given}


def plain_text(turns: Sequence[Turn]) -> str:
    """A dialogue for a model that knows no roles: one turn is its text, more are told apart as USER and ASSISTANT."""
    if len(turns) == 1:
        return turns[0].text
    system = [turn.text for turn in turns if turn.role == "system"]
    others = [turn for turn in turns if turn.role != "system"]
    if len(others) == 1:
        return "\n\n".join([*system, others[0].text])
    return "\n\n".join([*system, "\n".join(f"{turn.role.upper()}: {turn.text}" for turn in others)])


class _Reply(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw()
    request_id: str | None = None


class _Line(msgspec.Struct):
    custom_id: str
    response: _Reply | None = None
    error: Any = None


def _batch_result(raw: bytes) -> tuple[str, Response | RequestError]:
    try:
        line = msgspec.json.decode(raw, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return unreadable_line(raw)
    if line.response is not None and line.response.status_code == 200:
        return line.custom_id, Response(bytes(line.response.body), line.response.request_id or "")
    if line.response is not None:
        reply = Response(bytes(line.response.body), line.response.request_id or "")
        return line.custom_id, by_status(line.response.status_code, reply, {})
    error = as_table(line.error)
    words = str(error.get("message") or line.error)[:2000]
    return line.custom_id, ProviderBusyError(str(error.get("code") or "batch_error"), words)
