"""Servers that mislead: odd headers, redirects, endless pauses, batches that are at work elsewhere. No call is lost."""

import asyncio
import socket

import pytest
from typer.testing import CliRunner

from curate.cli.app import app
from curate.ledger.accounts import batches, sent_by_model
from curate.ledger.batches import BatchBook
from curate.ledger.journal import Ledger
from curate.pipeline import dry_run, run_stage
from curate.providers.endpoint import Dialect, Endpoint
from curate.providers.faults import as_response, as_table, unreadable_line, without_key
from curate.providers.openai import OpenAIProvider
from curate.store.run import RunStore
from schemas.errors import StageError
from schemas.records import Sampling, Turn
from tests.curate.stages.conftest import model

VENDORS = pytest.mark.parametrize("provider", ["openai", "anthropic"])


def generate(pipeline):
    run_stage(pipeline, "generate", lambda _: None, again=False)
    return RunStore(pipeline.workdir)


def test_a_request_id_that_is_no_text_is_kept_as_text():
    assert as_response(b"{}", {"x-request-id": "a\udcffb"}, "none").provider_request_id == "a?b"


def test_a_placeholder_key_is_not_cut_out_of_answers():
    assert without_key(b"INSERT (EMPTY)", "EMPTY") == b"INSERT (EMPTY)"
    assert without_key(b"the key sk-12345678", "sk-12345678") == b"the key ***"


def test_an_odd_usage_is_an_empty_one():
    assert as_table(1) == as_table(None) == {}


def test_a_line_of_results_that_cannot_be_read_is_told_under_its_call():
    request_id, error = unreadable_line(b'{"custom_id": "' + b"a" * 64 + b'", "response": "oops"')
    assert (request_id, error.kind, error.is_possibly_paid) == ("a" * 64, "malformed", True)


@VENDORS
def test_a_server_that_is_not_there_costs_nothing(asking, server, provider):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    priced = {"price": {"input": 1.0, "output": 1.0}, "max_attempts": 1, "max_in_flight": 4}
    pipeline = asking(model("m", server, provider, **priced) | {"base_url": f"http://127.0.0.1:{port}/v1"}, prompts=20)
    with pytest.raises(StageError, match="calls in a row failed; the last: unreachable"):
        generate(pipeline)
    with Ledger(pipeline.workdir / "ledger.sqlite") as ledger:
        assert ledger.spent_nano_usd() == 0


@VENDORS
def test_no_prompt_follows_a_redirect_to_another_server(asking, server, second, provider):
    choice = b'{"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]}'
    block = b'{"content": [{"type": "text", "text": "fine"}], "stop_reason": "end_turn"}'
    server.faults = [(200, {}, choice if provider == "openai" else block), (307, {"Location": second.url + "/v1"}, b"")]
    with pytest.raises(StageError, match="redirected: 307"):
        generate(asking(model("m", server, provider, max_in_flight=1), prompts=5))
    assert not second.asked


@VENDORS
def test_a_redirect_of_the_first_call_is_not_followed(asking, server, second, provider):
    server.faults = [(307, {"Location": second.url + "/v1"}, b"")]
    with pytest.raises(StageError, match="redirected: 307"):
        generate(asking(model("m", server, provider), prompts=5))
    assert not second.asked


def test_a_model_that_asks_for_endless_pauses_stops_alone(asking, server, second):
    server.faults = [(429, {"Retry-After": "86400"}, b"{}")] * 20 + [(500, {}, b"oops")] * 20
    keys = {"longest_wait_s": 0.05, "max_in_flight": 4}
    pipeline = asking(model("m", server, **keys), model("n", second), prompts=20, generate={"answers_per_prompt": 2})
    with pytest.raises(StageError, match="m: the server asks again and again for too long a pause"):
        generate(pipeline)
    assert set(second.answered.values()) == {1}
    assert len(second.answered) == 20


def test_calls_in_a_batch_are_not_sent_again_by_a_model_that_is_online_now(asking, server):
    pipeline = asking(model("m", server), prompts=3)
    provider = OpenAIProvider("m", Sampling(), Endpoint("none", server.url), Dialect())
    request = provider.request([Turn("user", "What is 0 plus 0, please?")])

    async def submitted(ledger: Ledger) -> None:
        book = BatchBook(ledger, "generate", "m")
        batch, _ = await book.plan([request], [5], "mark")
        await book.submitted(batch, "batch_1")

    with Ledger(pipeline.workdir / "ledger.sqlite") as ledger:
        asyncio.run(submitted(ledger))
    assert dry_run(pipeline, "generate")[0].to_send == 2
    with pytest.raises(StageError, match='m: calls of it are in a batch of "m" that is at work'):
        generate(pipeline)
    assert "What is 0 plus 0, please?" not in server.asked
    done = CliRunner().invoke(app, ["ledger", "forget", "batch_1", "-c", str(pipeline.folder / "pipelines.toml")])
    assert done.stdout.startswith("1 calls are not waited for any more")
    assert generate(pipeline).published("generate").accounting.kept == 3
    assert set(server.asked.values()) == {1}
    assert [one["state"] for one in batches(pipeline.workdir / "ledger.sqlite")] == ["forgotten"]
    assert sent_by_model(pipeline.workdir / "ledger.sqlite")[0]["replies"] == 3
