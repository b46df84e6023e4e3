"""One dispatcher: what has arrived is kept, whatever happens to the calls that follow."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from curate.asking.running import LOOK_AHEAD
from curate.asking.stage_calls import Limits, ask_all
from curate.asking.work import Ask, Call
from curate.config.calls import CallConfig
from curate.identity import request_key
from curate.ledger.journal import Ledger
from curate.progress import Progress
from schemas.errors import StoreError
from schemas.records import Completion, CompletionRequest, Response


class Echo:
    """An asker that answers each call with its body, after a moment."""

    def __init__(self) -> None:
        self.answered: list[str] = []

    async def complete(self, request: CompletionRequest) -> Response:
        await asyncio.sleep(0.001)
        self.answered.append(request.request_id)
        return Response(request.body)

    def read(self, response: bytes) -> Completion:
        return Completion(response.decode(), "stop", 1, 1)


def call(number: int) -> Call:
    body = msgspec.json.encode({"number": number})
    return Call(CompletionRequest(request_key("openai", "m", body), "openai", "m", body))


def plan_that_cannot_be_read_on() -> Iterator[Call]:
    yield from map(call, range(LOOK_AHEAD))
    raise StoreError("the prompts are gone", do="run again")


def ask(folder: Path, echo: Echo, calls: Iterator[Call], **config: object) -> None:
    asked = Ask("m", echo, CallConfig(provider="openai", max_in_flight=8, **config), calls, LOOK_AHEAD)
    with Ledger(folder / "ledger.sqlite") as ledger:
        asyncio.run(ask_all([asked], ledger, "generate", Limits(None, None), Progress("generate")))


def test_a_plan_that_breaks_loses_no_reply_that_has_arrived(tmp_path):
    echo = Echo()
    with pytest.raises(StoreError, match="the prompts are gone"):
        ask(tmp_path, echo, plan_that_cannot_be_read_on())
    assert len(echo.answered) > LOOK_AHEAD - 20
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.known(echo.answered) == set(echo.answered)


@pytest.mark.parametrize("pace", [{}, {"requests_per_minute": 30_000}])
def test_every_call_of_a_plan_is_sent_once(tmp_path, pace):
    echo = Echo()
    ask(tmp_path, echo, map(call, range(200)), **pace)
    assert sorted(echo.answered) == sorted({call(number).request.request_id for number in range(200)})
