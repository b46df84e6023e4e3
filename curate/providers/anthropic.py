"""Anthropic's messages protocol."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from curate.identity import request_key
from curate.providers.endpoint import Endpoint
from curate.providers.faults import (
    UNREADABLE,
    as_request_error,
    as_table,
    decoded,
    extra_missing,
    unreadable_line,
    without_key,
)
from curate.providers.lines import json_lines
from curate.providers.posting import Posting, sdk_options
from schemas.errors import ProviderBusyError, RequestError, UndecidedBatchError
from schemas.records import BatchState, Completion, CompletionRequest, Response, Sampling, Turn

if TYPE_CHECKING:
    import anthropic

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
VERSION = "2026-10-21"
"""Of the protocol, as anthropic 2.12 sends it; a test compares."""

MESSAGES = "/v1/messages"
BATCHES = "/v1/messages/batches"
CLOCK_SKEW_S = 300.0
LONGEST_SUBMISSION_S = 3600.0
"""A batch made later after its plan is another's."""


class AnthropicProvider:
    """One model behind one base URL. Calls are posted as they are; the SDK is there for batches."""

    kind = "anthropic"

    def __init__(self, model: str, sampling: Sampling, endpoint: Endpoint, extra_body: Mapping[str, Any]) -> None:
        self._model, self._sampling, self._endpoint, self._extra_body = model, sampling, endpoint, dict(extra_body)
        self._key, self._base_url = endpoint.key, endpoint.base_url or "https://api.anthropic.com"
        self._posting = Posting(endpoint, self._base_url, _headers(endpoint))

    @cached_property
    def _sdk(self) -> "tuple[anthropic.AsyncAnthropic, tuple[type[Exception], ...]]":
        """The SDK, which knows batches, and what it raises. Raises MissingExtraError."""
        try:
            import aiohttp
            import anthropic
            import httpx2
        except ImportError as error:
            raise extra_missing("anthropic") from error
        client = anthropic.AsyncAnthropic(
            api_key=self._key,
            base_url=self._base_url,
            max_retries=0,
            timeout=self._endpoint.timeout_s,
            http_client=anthropic.DefaultAioHttpClient(**sdk_options(self._endpoint)),
        )
        return client, (anthropic.AnthropicError, httpx2.HTTPError, aiohttp.ClientError, *UNREADABLE)

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
                "messages": [turn for turn in turns if turn.role != "system"],
                **{name: value for name, value in settings.items() if value is not None},
                **self._extra_body,
            }
        )
        return CompletionRequest(request_key(self.kind, self._model, body, sample_index), self.kind, self._model, body)

    async def complete(self, request: CompletionRequest) -> Response:
        """The raw reply. Raises RequestError or one of its kinds."""
        return await self._posting.post(MESSAGES, request.body)

    def read(self, response: bytes) -> Completion:
        """All text blocks. Raises RequestError of kind malformed or error_reply."""
        reply: Any = decoded(response)
        try:
            text = "".join(block["text"] for block in reply["content"] if block["type"] == "text")
            usage = as_table(reply.get("usage"))
            reason = FINISH_REASONS.get(reply.get("stop_reason") or "end_turn", "other")
            cached, written = (_tokens(usage.get(f"cache_{what}_input_tokens")) for what in ("read", "creation"))
            fresh = usage.get("input_tokens")
            total = fresh + cached + written if isinstance(fresh, int) else None
            tokens = (total, usage.get("output_tokens"), cached)
            return Completion(text, reason, *tokens, model=str(reply.get("model") or ""))
        except (KeyError, TypeError, AttributeError) as error:
            raise RequestError("malformed", f"no content in the reply: {response[:300]!r}") from error

    async def submit_batch(self, requests: Sequence[CompletionRequest], mark: str) -> str:
        """Hand calls over as one batch; its id. This protocol takes no mark. Raises RequestError."""
        del mark
        _ = self._sdk  # without it the batch could be handed over, and never be fetched
        entries = [{"custom_id": one.request_id, "params": msgspec.Raw(one.body)} for one in requests]
        made = await self._posting.post(BATCHES, msgspec.json.encode({"requests": entries}))
        try:
            return str(msgspec.json.decode(made.body)["id"])
        except UNREADABLE as error:
            raise as_request_error(error, self._key) from error

    async def find_batch(
        self, mark: str, request_ids: Collection[str], since: float, taken: Collection[str]
    ) -> str | None:
        """The batch of these calls, among those of as many that were made then: its results name its calls.

        Raises UndecidedBatchError while one that may be it is at work, RequestError.
        """
        del mark
        at_work = ""
        client, errors = self._sdk
        try:
            async for batch in client.messages.batches.list(limit=100):
                made_after_s = batch.created_at.timestamp() - since
                if made_after_s < -CLOCK_SKEW_S:
                    break
                counts = batch.request_counts
                total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
                if total != len(request_ids) or batch.id in taken or made_after_s > LONGEST_SUBMISSION_S:
                    continue
                now = await client.messages.batches.retrieve(batch.id)
                if now.processing_status != "ended":
                    at_work = batch.id
                elif now.results_url and await self._is_of(batch.id, request_ids):
                    return batch.id
        except errors as error:
            raise as_request_error(error, self._key) from error
        if at_work:
            raise UndecidedBatchError("batch_undecided", f"{at_work} is at work and may be ours")
        return None

    async def _is_of(self, remote_id: str, request_ids: Collection[str]) -> bool:
        async with aclosing(self.batch_results(remote_id)) as results:
            async for request_id, _ in results:
                return request_id in request_ids
        return False

    async def batch_state(self, remote_id: str) -> BatchState:
        """How far a batch is. Raises RequestError."""
        client, errors = self._sdk
        try:
            batch = await client.messages.batches.retrieve(remote_id)
        except errors as error:
            raise as_request_error(error, self._key) from error
        counts = batch.request_counts
        done = counts.succeeded + counts.errored + counts.canceled + counts.expired
        return BatchState(batch.processing_status == "ended", batch.processing_status, done, "")

    async def batch_results(self, remote_id: str) -> AsyncGenerator[tuple[str, Response | RequestError]]:
        """Each finished call by request id: its reply, or what went wrong with it. Raises RequestError."""
        client, errors = self._sdk
        try:
            batches = client.messages.batches.with_streaming_response
            async with batches.results(remote_id) as stream:
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
    return {"Authorization": f"Bearer {endpoint.key}", "anthropic-version": VERSION}


def _tokens(told: object) -> int:
    """A number of tokens, 0 where a server tells none: an odd usage does not make an answer malformed."""
    return told if isinstance(told, int) else 0


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw()
    error: Any = None


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


def _batch_result(raw: bytes) -> tuple[str, Response | RequestError]:
    try:
        line = msgspec.json.decode(raw, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return unreadable_line(raw)
    result = line.result
    if result.type == "succeeded":
        return line.custom_id, Response(bytes(result.message))
    if result.type != "errored":
        return line.custom_id, ProviderBusyError(f"batch_{result.type}", f"the call is {result.type}")
    error = as_table(as_table(result.error).get("error")) or as_table(result.error)
    words = str(error.get("message") or error)[:2000]
    if error.get("type") in {"invalid_request_error", "request_too_large"}:
        return line.custom_id, RequestError("refused_request", words)
    return line.custom_id, ProviderBusyError("server_error", words)
