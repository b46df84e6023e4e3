"""Answers from a file of recorded answers: real data without a key, and tests without a server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from curate.identity import file_hash, request_key
from curate.sources.readers import Broken, rows
from schemas.errors import RequestError, SourceError
from schemas.records import Completion, CompletionRequest, Response, Turn


class RecordedAnswers:
    """The recorded answers of one model. The file's hash is part of each request, so a new file is asked anew.

    columns: where they differ from ours, the file's names of `prompt`, `model` and `answer`.
    """

    kind = "recorded"

    def __init__(self, path: Path, name: str, model: str, columns: Mapping[Any, str]) -> None:
        self._model, self._name = model, name
        if not path.is_file():
            raise SourceError(f"there is no file {name} ({path})", do="correct `path` of this model")
        self._hash = file_hash(path)
        wanted = [columns.get(ours, ours) for ours in ("prompt", "model", "answer")]
        recorded = recorded_rows(path, name, wanted)
        self._answers = {str(prompt).strip(): answer for prompt, said_by, answer in recorded if said_by == model}
        if not self._answers:
            known = ", ".join(sorted({said_by for _, said_by, _ in recorded})[:20])
            raise SourceError(f"{name} holds no answer of {model}", do=f"correct `model` or `name`; it has: {known}")

    def request(self, turns: Sequence[Turn], sample_index: int = 0) -> CompletionRequest:
        """Recorded answers are found by the text of the last turn."""
        body = msgspec.json.encode({"file": self._hash, "prompt": turns[-1].text})
        return CompletionRequest(request_key(self.kind, self._model, body, sample_index), self.kind, self._model, body)

    async def complete(self, request: CompletionRequest) -> Response:
        """The recorded text. Raises RequestError of kind no_recorded_answer."""
        prompt = msgspec.json.decode(request.body)["prompt"]
        if prompt not in self._answers:
            raise RequestError("no_recorded_answer", f"{self._name} holds no answer of {self._model} to this prompt")
        return Response(msgspec.json.encode({"text": self._answers[prompt]}))

    def read(self, response: bytes) -> Completion:
        """The recorded text as a completion."""
        return Completion(str(msgspec.json.decode(response)["text"]), "stop")

    async def close(self) -> None:
        """Nothing to close."""


def recorded_rows(path: Path, name: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The named columns of a file in any of our formats. Raises SourceError at the first row that lacks one."""
    found = []
    for number, row in rows(path, name):
        if isinstance(row, Broken):
            raise SourceError(f"{name}, row {number}: {row.kind}: {row.detail}", do="repair this row")
        missing = [column for column in columns if not isinstance(row, dict) or not isinstance(row.get(column), str)]
        if missing:
            has = ", ".join(row) if isinstance(row, dict) else "no columns"
            raise SourceError(
                f"{name}, row {number}: no text under {', '.join(missing)}; it has: {has}",
                do="name the file's columns with `columns`",
            )
        found.append(tuple(row[column] for column in columns))
    return found
