"""Corrections that were written before and lie in a file: real data without a key, and work done elsewhere."""

import json
from collections.abc import Callable, Iterable

from schemas.errors import RequestError
from schemas.records import Completion, CompletionRequest, CorrectionTask, Response


class RecordedCorrections:
    """Recorded corrections, found by question and answer.

    rows: (question, answer, correction). request_of: makes the ledger's request, whose body is JSON with `question`
    and `answer`; it is handed in because ids are not this package's business.
    """

    def __init__(
        self,
        name: str,
        rows: Iterable[tuple[str, str, str]],
        request_of: Callable[[CorrectionTask], CompletionRequest],
    ) -> None:
        self.name = name
        self._corrections = {(question.strip(), answer.strip()): text for question, answer, text in rows}
        self._request_of = request_of

    def request(self, task: CorrectionTask, attempt: int = 0) -> CompletionRequest:  # noqa: ARG002  a file says it once
        """The call for this task."""
        return self._request_of(task)

    async def complete(self, request: CompletionRequest) -> Response:
        """The recorded text. Raises RequestError of kind no_recorded_correction."""
        asked = json.loads(request.body)
        found = self._corrections.get((asked["question"].strip(), asked["answer"].strip()))
        if found is None:
            raise RequestError("no_recorded_correction", "the file holds no correction of this answer to this question")
        return Response(found.encode("utf-8"))

    def read(self, response: bytes) -> Completion:
        """The recorded text as a completion."""
        return Completion(response.decode("utf-8"), "stop")

    def said(self, task: CorrectionTask, completion: Completion) -> str:
        """The recorded text without white space at its ends; where only that differs, it is the answer itself."""
        text = completion.text
        return task.answer if text.strip() == task.answer.strip() else text.strip()

    async def close(self) -> None:
        """Nothing to close."""
