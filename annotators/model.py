"""A language model as annotator: it is shown the principles and one pair, and writes the better answer."""

from annotators.principles import Principle
from annotators.template import correction_turns, read_correction
from schemas.errors import RequestError
from schemas.records import CompletionRequest, CorrectionTask, Provider


class ModelAnnotator:
    """Corrections by one model behind one provider."""

    kind = "model"

    def __init__(self, name: str, principles: list[Principle], provider: Provider) -> None:
        self.name = name
        self._principles = principles
        self._provider = provider

    def request(self, task: CorrectionTask) -> CompletionRequest:
        """The call for this task; equal tasks make equal calls, which are paid once."""
        return self._provider.request(correction_turns(task, self._principles))

    async def complete(self, request: CompletionRequest) -> bytes:
        """The provider's raw reply."""
        return await self._provider.complete(request)

    def correction(self, task: CorrectionTask, response: bytes) -> str:
        """The correction. Raises RequestError for a cut-off, filtered or unmarked reply."""
        completion = self._provider.read(response)
        if completion.finish_reason == "length":
            raise RequestError("truncated", f"cut off after {completion.output_tokens} tokens: raise max_tokens")
        if completion.finish_reason == "content_filter":
            raise RequestError("content_filter", completion.text[:300] or "the server filtered the reply")
        return read_correction(task, completion.text)

    async def close(self) -> None:
        """Close the provider."""
        await self._provider.close()
