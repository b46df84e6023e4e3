"""A language model as annotator: it is shown the principles and one pair, and writes the better answer."""

from annotators.principles import Principle
from annotators.template import correction_turns, read_correction
from schemas.records import Completion, CompletionRequest, CorrectionTask, Provider, Response


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

    async def complete(self, request: CompletionRequest) -> Response:
        """The provider's raw reply."""
        return await self._provider.complete(request)

    def read(self, response: bytes) -> Completion:
        """The completion in a raw reply. Raises RequestError where there is none."""
        return self._provider.read(response)

    def correction(self, task: CorrectionTask, completion: Completion) -> str:
        """The correction. Raises RequestError for an unmarked reply."""
        return read_correction(task, completion.text)

    async def close(self) -> None:
        """Close the provider."""
        await self._provider.close()
