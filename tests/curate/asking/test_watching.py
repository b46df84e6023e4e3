"""What people and programs are told of models at work: counts, rates, money, time left, and why one stopped."""

import asyncio
import io
import json

import pytest

from curate.asking.watching import watch
from curate.asking.work import Ask, Meter, Model
from curate.config.calls import CallConfig, Price
from curate.progress import Progress
from schemas.errors import RequestError
from schemas.records import Completion, CompletionRequest, Response


class Nobody:
    """An asker that is never asked."""

    async def complete(self, request: CompletionRequest) -> Response:
        raise RequestError("never", "asked")

    def read(self, response: bytes) -> Completion:
        raise RequestError("never", "read")


def model(name: str = "m", *, meter: Meter, stopped: str = "", provider: str = "openai", price: Price | None = None):
    config = CallConfig(provider=provider, price=price)
    ask = Ask(name, Nobody(), config, (), meter.total)
    return Model(0, ask, [], iter(()), meter, stopped=stopped)


def seen(models: list[Model], *, as_json: bool, work=lambda: None, seconds: float = 0.3) -> list[str]:
    """The lines that are told within that time; `work` is done after a third of it."""
    out = io.StringIO()

    async def run() -> None:
        watcher = asyncio.create_task(watch(models, Progress("generate", out, every_s=0.04, as_json=as_json)))
        await asyncio.sleep(seconds / 3)
        work()
        await asyncio.sleep(seconds * 2 / 3)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    asyncio.run(run())
    return out.getvalue().splitlines()


def last_event(one: Model, **more) -> dict[str, object]:
    return json.loads(seen([one], as_json=True, **more)[-1])


def test_a_model_that_is_done_is_told_in_one_line():
    line = seen([model(meter=Meter(total=1500, known=500, done=1000))], as_json=False)[-1]
    assert line == "generate: m: 1,500/1,500, 0.0/s"


def test_an_event_holds_every_count():
    meter = Meter(total=10, known=2, done=3, failed=1, in_flight=4, retries=5)
    event = last_event(model(meter=meter))
    assert event == {
        "event": "progress",
        "stage": "generate",
        "model": "m",
        "done": 5,
        "total": 10,
        "failed": 1,
        "in_flight": 4,
        "retries": 5,
        "calls_per_s": 0.0,
        "tokens_per_s": 0.0,
        "cost_usd": None,
        "eta_s": None,
        "stopped": "",
    }


def test_a_line_holds_the_counts_that_are_not_zero():
    meter = Meter(total=10, failed=1, in_flight=4, retries=5)
    assert seen([model(meter=meter)], as_json=False)[-1].startswith(
        "generate: m: 0/10, 1 failed, 4 in flight, 5 retries, 0.0/s"
    )


def test_rates_and_the_time_left_follow_from_what_was_done_while_watched():
    meter = Meter(total=10_000, known=100)

    def work() -> None:
        meter.done, meter.failed, meter.input_tokens, meter.output_tokens = 90, 10, 3000, 1000

    event = last_event(model(meter=meter), work=work)
    assert 150 < event["calls_per_s"] < 600, "100 calls in a little more than 0.3 s"
    assert event["tokens_per_s"] == pytest.approx(40 * event["calls_per_s"], rel=0.01)
    assert event["eta_s"] == pytest.approx(9800 / event["calls_per_s"], abs=1)


def test_known_replies_give_no_rate():
    assert last_event(model(meter=Meter(total=900, known=800)))["calls_per_s"] == 0.0


def test_nothing_left_takes_no_time():
    assert last_event(model(meter=Meter(total=9, known=4, done=4, failed=1)))["eta_s"] == 0


@pytest.mark.parametrize(
    ("total", "words"),
    [(1000, " s left"), (100_000, " min "), (10_000_000, " h ")],
    ids=["seconds", "minutes", "hours"],
)
def test_the_time_left_reads_as_people_say_it(total, words):
    meter = Meter(total=total)

    def work() -> None:
        meter.done = 100

    assert words in seen([model(meter=meter)], as_json=False, work=work)[-1]


def test_money_is_told_where_there_is_a_price():
    one = model(meter=Meter(total=1, cost_nano_usd=1_234_567_890), price=Price(input=1, output=1))
    assert last_event(one)["cost_usd"] == 1.23456789
    assert "1.2346 USD" in seen([one], as_json=False)[-1]


def test_a_model_that_stopped_says_why_and_no_rate():
    one = model(meter=Meter(total=10, done=3, failed=1), stopped="unauthorized: 401: wrong key")
    assert seen([one], as_json=False)[-1] == "generate: m: 3/10, 1 failed, stopped: unauthorized: 401: wrong key"
    assert last_event(one)["stopped"] == "unauthorized: 401: wrong key"


def test_a_long_reason_is_cut_in_the_line_and_whole_in_the_event():
    one = model(meter=Meter(total=10), stopped="x" * 5000)
    assert len(seen([one], as_json=False)[-1]) <= len("generate: ") + 200
    assert last_event(one)["stopped"] == "x" * 5000


def test_each_model_has_its_own_line():
    models = [model("one", meter=Meter(total=1)), model("two", meter=Meter(total=2))]
    assert [line.split()[1] for line in seen(models, as_json=False)[-2:]] == ["one:", "two:"]


def test_many_recorded_models_are_not_told_one_by_one():
    recorded = [model(f"r{n}", meter=Meter(total=1), provider="recorded") for n in range(9)]
    served = model("served", meter=Meter(total=1))
    assert {line.split()[1] for line in seen([*recorded, served], as_json=False)} == {"served:"}


def test_the_last_report_tells_the_end():
    meter = Meter(total=10)
    out = io.StringIO()

    async def run() -> None:
        watcher = asyncio.create_task(watch([model(meter=meter)], Progress("generate", out, every_s=0.2, as_json=True)))
        await asyncio.sleep(0.25)
        meter.done = 10
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    asyncio.run(run())
    assert [json.loads(line)["done"] for line in out.getvalue().splitlines()] == [0, 10]


def test_a_run_that_ends_before_its_first_report_tells_nothing():
    out = io.StringIO()

    async def run() -> None:
        watcher = asyncio.create_task(watch([model(meter=Meter(total=10))], Progress("generate", out, every_s=5.0)))
        await asyncio.sleep(0.05)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    asyncio.run(run())
    assert out.getvalue() == ""
