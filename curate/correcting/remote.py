"""An Aligner that a server serves over OpenAI's completions protocol, such as vLLM, corrects rows."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.asking.retry import Next, Policy, counts, decide
from curate.correcting.journal import Line
from curate.correcting.local import line_of
from curate.correcting.rows import Row
from curate.providers.endpoint import Dialect, Endpoint
from curate.providers.openai import OpenAIProvider
from curate.training.templates import Template
from schemas.errors import ProviderBusyError, ProviderDownError, RequestError, StageError
from schemas.records import CompletionRequest, Response, Sampling, Turn

if TYPE_CHECKING:
    from curate.correcting.work import Writer

POLICY = Policy(max_attempts=6, longest_wait_s=120.0, give_up_after_s=600.0)


@dataclass(frozen=True)
class Server:
    """Where the Aligner is served, and how it is asked.

    protocol: completions, for which we render the template; or chat, whose template the server has.
    """

    endpoint: Endpoint
    model: str
    template: Template
    max_new_tokens: int
    protocol: str = "completions"

    def turns(self, row: Row) -> list[Turn]:
        """What is sent for a row."""
        if self.protocol == "chat":
            return [Turn("user", row.question), Turn("assistant", row.answer)]
        return [Turn("user", self.template.prompt(row.question, row.answer))]


def remote_writer(server: Server) -> "Writer":
    """Asks the server for each row, as many at once as the endpoint says. A row that it refuses is passed through.

    Raises StageError where the server cannot be reached or refuses all.
    """

    def written(rows: Sequence[Row]) -> Iterator[list[Line]]:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            sampling = Sampling(temperature=0.0, max_tokens=server.max_new_tokens)
            provider = OpenAIProvider(server.model, sampling, server.endpoint, Dialect(protocol=server.protocol))
            gate = asyncio.Semaphore(server.endpoint.max_in_flight)
            pending = {loop.create_task(_line(server, provider, gate, row)) for row in rows}
            try:
                while pending:
                    done, pending = loop.run_until_complete(asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED))
                    yield [task.result() for task in done]
            finally:
                runner.run(provider.close())

    return written


async def _line(server: Server, provider: OpenAIProvider, gate: asyncio.Semaphore, row: Row) -> Line:
    async with gate:
        try:
            response = await _asked(provider, provider.request(server.turns(row)))
            completion = provider.read(response.body)
        except (ProviderDownError, ProviderBusyError) as error:
            raise StageError(
                f"{server.endpoint.base_url}: {error.what}",
                do="see that the server runs and serves this model; rows that are done are kept, repeat the command",
            ) from error
        except RequestError as error:
            return Line(row.number, note=error.kind)
    has_ended = completion.finish_reason == "stop"
    text = server.template.written(completion.text)
    return line_of(row.number, text, row.answer, has_ended=has_ended, passes=0)


async def _asked(provider: OpenAIProvider, request: CompletionRequest) -> Response:
    """The reply, after as many attempts as it takes. Raises RequestError."""
    draw, started = random.Random(request.request_id), time.monotonic()
    attempts = faults = 0
    while True:
        try:
            return await provider.complete(request)
        except RequestError as error:
            faults += 1
            attempts += counts(error)
            following = decide(error, POLICY, attempts, faults, time.monotonic() - started, draw.random())
            if following.next is not Next.AGAIN:
                raise
        await asyncio.sleep(following.pause_s)
