"""One chat completion: ask the upstream, correct its answers, or say why they stand as they came."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from curate.serving.asked import Asked, json_object
from curate.serving.choices import leave, put, reason_to_pass
from curate.serving.correcting import Corrector
from curate.serving.metrics import Metrics
from curate.serving.refusals import RefusedError
from curate.serving.settings import Settings
from curate.serving.stacking import Corrected, Shown
from curate.serving.telling import Told
from curate.serving.upstream import Headers, Reply, Upstream

CHAT = "/chat/completions"


@dataclass(frozen=True, slots=True)
class Completed:
    """The upstream's reply, and the corrected completion; None where the reply is an error to pass on."""

    reply: Reply
    completion: dict[str, Any] | None


class Completing:
    """The upstream and the Aligners behind it."""

    def __init__(self, settings: Settings, upstream: Upstream, corrector: Corrector, metrics: Metrics) -> None:
        self._settings, self._upstream, self._corrector, self._metrics = settings, upstream, corrector, metrics

    async def complete(self, asked: Asked, headers: Headers, told: Told) -> Completed:
        """Raises RefusedError where the upstream fails, or the Aligner does and answers are withheld then."""
        started_s = time.monotonic()
        reply = await self._upstream.ask("POST", CHAT, headers, asked.sent)
        told.upstream_s = time.monotonic() - started_s
        self._metrics.observe("curate_upstream_seconds", told.upstream_s)
        completion = read_completion(reply)
        if completion is not None:
            await self._correct(completion["choices"], asked.question, told)
        return Completed(reply, completion)

    async def _correct(self, choices: list[Any], question: str | None, told: Told) -> None:
        """Correct choices in place."""
        todo = []
        for choice in choices:
            if reason := reason_to_pass(choice):
                leave(choice, reason)
                self._count(told, "passed")
            else:
                todo.append(choice)
        if not todo:
            return
        started_s = time.monotonic()
        found = await self._corrected(question, [choice["message"]["content"] for choice in todo])
        told.aligner_s = time.monotonic() - started_s
        self._metrics.observe("curate_aligner_seconds", told.aligner_s)
        for choice, one in zip(todo, found, strict=True):
            if one.failure:
                self._failed(choice, one.failure, told)
            else:
                put(choice, one.text)
                self._count(told, "corrected" if choice["message"]["aligner"]["changed"] else "unchanged")

    def _failed(self, choice: dict[str, Any], failure: str, told: Told) -> None:
        self._metrics.count("curate_failures_total", {"reason": failure})
        if not self._settings.fails_open:
            self._count(told, "withheld")
            what = f"The Aligner could not correct this answer ({failure}), so it is withheld. Try again later."
            raise RefusedError(503, f"aligner_{failure}", what)
        leave(choice, f"aligner_{failure}")
        self._count(told, "failed")

    async def _corrected(self, question: str | None, answers: list[str]) -> list[Corrected]:
        """A correction or a failure of each answer, within the Aligner's time."""
        if question is None:
            return [Corrected("", "no_question")] * len(answers)
        waited = [asyncio.wrap_future(self._corrector.submit(Shown(question, answer))) for answer in answers]
        try:
            await asyncio.wait(waited, timeout=self._settings.aligner_timeout_s)
            return [one.result() if one.done() else Corrected("", "too_slow") for one in waited]
        finally:
            for one in waited:
                one.cancel()

    def _count(self, told: Told, outcome: str) -> None:
        told.answers[outcome] += 1
        self._metrics.count("curate_answers_total", {"outcome": outcome})


def read_completion(reply: Reply) -> dict[str, Any] | None:
    """The completion in a reply; None where it is an error to pass on. Raises RefusedError (502) for anything else."""
    if reply.status != 200:
        return None
    found = json_object(reply.content)
    if found is not None and isinstance(found.get("choices"), list):
        return found
    if found is not None and "error" in found:
        return None
    raise RefusedError(502, "upstream_unreadable", "The upstream model's server sent no chat completion.")
