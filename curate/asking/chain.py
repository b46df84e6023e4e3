"""One kind of task for one model: asked again while a reply cannot be read, then left to whoever comes next."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from curate.asking.work import Call, reported_model
from curate.config.calls import CallConfig
from curate.ledger.journal import KnownFailure, Ledger
from curate.providers.verdict import Ruling, Verdict, ruling
from schemas.errors import RequestError
from schemas.records import Respondent

Task = TypeVar("Task")
Said = TypeVar("Said")
Key = TypeVar("Key", bound=Hashable)
Otherwise = Callable[[], tuple[int, Call] | None]

NOT_ASKED = KnownFailure("not_asked", "the run ended, or the model stopped, before this call", 0)


@dataclass(frozen=True)
class Outcome(Generic[Said]):
    """What came of one task: what the model said and by which request, or why nothing did."""

    said: Said | None
    request_id: str
    failure: KnownFailure | None = None


@dataclass(frozen=True)
class Chain(Generic[Task, Said]):
    """number: of the model among those that are asked together. max_asks: calls for one task at most."""

    number: int
    respondent: Respondent[Task, Said]
    config: CallConfig
    max_asks: int

    def call(self, task: Task, otherwise: Otherwise | None = None, attempt: int = 0) -> Call:
        """The call for a task. otherwise: who is asked where the model gives nothing that can be read."""
        return Call(self.respondent.request(task, attempt), partial(self._follow, task, otherwise, attempt))

    def _follow(
        self, task: Task, otherwise: Otherwise | None, attempt: int, ruled: Ruling | None
    ) -> tuple[int, Call] | None:
        if ruled is not None and ruled.is_answer:
            if not isinstance(self._read(task, ruled), RequestError):
                return None
            if self._may_ask_again(ruled, attempt):
                return self.number, self.call(task, otherwise, attempt + 1)
        return None if otherwise is None else otherwise()

    def _may_ask_again(self, ruled: Ruling, attempt: int) -> bool:
        """A model that declined, or was cut off, would do so again."""
        return ruled.verdict is Verdict.OK and attempt + 1 < self.max_asks

    def _read(self, task: Task, ruled: Ruling) -> Said | RequestError:
        if not ruled.is_answer or ruled.completion is None:
            return RequestError(ruled.verdict, ruled.detail)
        try:
            return self.respondent.said(task, ruled.completion)
        except RequestError as error:
            if ruled.verdict is Verdict.REFUSED:
                return RequestError("refused", ruled.completion.text[:300])
            return error

    def outcomes(self, ledger: Ledger, tasks: Mapping[Key, Task]) -> dict[Key, Outcome[Said]]:
        """What the ledger holds of each task: the first reply that can be read, or why there is none.

        All raw replies are in memory at once: give some thousand tasks at a time.
        """
        reported = reported_model(self.config, self.respondent.name)
        found: dict[Key, Outcome[Said]] = {}
        asked = dict(tasks)
        for attempt in range(self.max_asks):
            ids = {key: self.respondent.request(task, attempt).request_id for key, task in asked.items()}
            responses = ledger.responses(ids.values())
            failed = ledger.failures(one for one in ids.values() if one not in responses)
            again: dict[Key, Task] = {}
            for key, task in asked.items():
                request_id = ids[key]
                if request_id not in responses:
                    unread = found[key].failure if key in found else NOT_ASKED
                    found[key] = Outcome(None, request_id, failed.get(request_id, unread))
                    continue
                ruled = ruling(self.respondent.read, responses[request_id], reported)
                read = self._read(task, ruled)
                if not isinstance(read, RequestError):
                    found[key] = Outcome(read, request_id)
                    continue
                found[key] = Outcome(None, request_id, KnownFailure(read.kind, read.detail, attempt + 1))
                if self._may_ask_again(ruled, attempt):
                    again[key] = task
            asked = again
        return {key: found[key] for key in tasks}
