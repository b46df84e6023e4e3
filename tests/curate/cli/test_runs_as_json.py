"""`curate run` against a server: estimates with their price's date, progress as JSON lines, one document on stdout."""

import json
from pathlib import Path

from curate.config.model import Pipeline
from curate.pipeline import run_stage
from tests.curate.cli.test_commands import curate

PRICE = 'price = { input = 2, output = 4, as_of = "2026-11-01" }\nsampling = { max_tokens = 100 }'


def filtered(pipeline: Pipeline) -> Path:
    """The folder of a pipeline whose prompts are there."""
    run_stage(pipeline, "filter", lambda _: None, again=False)
    return pipeline.path("pipelines.toml").parent


def test_a_dry_run_shows_the_day_of_each_price_and_sends_nothing(served, server):
    folder = filtered(served(keys=PRICE))
    out = curate("run", "--stage", "generate", "--dry-run", cwd=folder).stdout
    assert "price of" in out
    assert "2026-11-01" in out
    assert not server.asked


def test_a_run_as_json_tells_progress_on_stderr_and_one_document_on_stdout(served, server):
    folder = filtered(served(prompts=30, keys=f"{PRICE}\nmax_in_flight = 2"))
    server.latency_s = lambda: 0.1
    done = curate("run", "--stage", "generate", "--json", cwd=folder)
    (stage,) = json.loads(done.stdout)["stages"]
    assert (stage["stage"], stage["accounting"]["kept"]) == ("generate", 30)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    told = [event for event in events if event["event"] == "progress" and event.get("model") == "served"]
    assert [event["done"] for event in told] == sorted(event["done"] for event in told)
    assert (told[-1]["done"], told[-1]["total"], told[-1]["in_flight"]) == (30, 30, 0)
    assert {event["stage"] for event in told} == {"generate"}


def test_a_run_that_fails_as_json_is_one_error_on_stdout(served, server):
    folder = filtered(served(keys="max_attempts = 1"))
    server.faults = [(401, {}, b"who are you?")]
    done = curate("run", "--stage", "generate", "--json", code=1, cwd=folder)
    found = json.loads(done.stdout)
    assert found["error"] == "StageError"
    assert "unauthorized" in found["what"]
