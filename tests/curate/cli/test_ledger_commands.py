"""`curate ledger` and its commands as a user types them: tables, JSON, exports, pruning, no ledger, a ledger in use."""

import asyncio
import json
from pathlib import Path

import pytest

from curate.ledger.journal import Ended, Ledger, Usage
from curate.store.lock import writer_lock
from schemas.records import CompletionRequest
from tests.curate.cli.test_commands import curate


@pytest.fixture
def config(tmp_path) -> Path:
    """A pipeline whose ledger holds a reply, a fault and a lost call of the model `m`."""

    async def write(ledger: Ledger) -> None:
        for number, outcome in enumerate(("reply", "server_error", None)):
            request = CompletionRequest(f"{number:064x}", "openai", "served-m", b'{"ask": 1}')
            (attempt_id,) = await ledger.intend(request, "generate", "m", 2_000_000_000)
            ended = Ended(outcome or "", 40, "", Usage(3, 4, 1_500_000_000, 1))
            if outcome == "reply":
                await ledger.record(request, "generate", b"fine", 1, ended, attempt_id)
            elif outcome:
                await ledger.end(attempt_id, Ended(outcome, 9), b"\xff oops")

    path = tmp_path / "pipelines.toml"
    path.write_text('[pipelines.p]\n[[pipelines.p.sources]]\npath = "p.jsonl"\nfield = "text"\n')
    (tmp_path / "runs" / "p").mkdir(parents=True)
    with Ledger(tmp_path / "runs" / "p" / "ledger.sqlite") as ledger:
        asyncio.run(write(ledger))
    return path


def ledger(config: Path, *arguments: str, code: int = 0):
    return curate("ledger", *arguments, code=code, cwd=config.parent)


def shown(config: Path) -> dict:
    return json.loads(ledger(config, "--json").stdout)


def test_the_table_tells_what_came_what_was_sent_and_what_may_be_paid(config):
    out = ledger(config).stdout
    assert "generate  m          1             3" in out
    assert "1 requests were sent and have no reply" in out
    assert "at most 2.0000 USD" in out


def test_the_same_as_json(config):
    found = shown(config)
    assert found["received"][0]["cost_usd"] == 1.5
    assert {name: found["sent"][0][name] for name in ("sent", "replies", "faults", "possibly_paid", "at_most_usd")} == {
        "sent": 3,
        "replies": 1,
        "faults": 1,
        "possibly_paid": 1,
        "at_most_usd": 2.0,
    }
    assert found["batches"] == []


def test_skip_and_resend_undo_each_other(config):
    assert ledger(config, "skip").stdout.startswith("1 requests will not be sent again")
    assert skipped_and_possibly_paid(config) == (1, 0)
    assert json.loads(ledger(config, "resend", "--json").stdout)["count"] == 1
    assert skipped_and_possibly_paid(config) == (0, 1)


def skipped_and_possibly_paid(config: Path) -> tuple[int, int]:
    sent = shown(config)["sent"][0]
    return sent["skipped"], sent["possibly_paid"]


def test_an_export_goes_to_a_file_and_says_how_much(config, tmp_path):
    done = ledger(config, "export", str(tmp_path / "all.jsonl"))
    assert (done.stdout, "3 attempts are in" in done.stderr) == ("", True)
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [row["outcome"] for row in rows] == ["reply", "server_error", None]
    assert rows[0]["response"] == "fine"
    assert rows[1]["response_base64"] == "/yBvb3Bz"


def test_an_export_to_a_dash_is_json_lines_on_stdout(config):
    done = ledger(config, "export", "-", "--model", "m", "--stage", "generate")
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3
    assert done.stderr == ""
    assert ledger(config, "export", "-", "--model", "nobody").stdout == ""


def test_an_export_leaves_an_earlier_file_whole_where_it_cannot_write(config, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert "the system says" in ledger(config, "export", str(tmp_path / "file" / "all.jsonl"), code=1).stderr
    assert (tmp_path / "file").read_text() == "not a folder"


def test_pruning_forgets_bodies_of_faults_and_keeps_counts(config):
    before = shown(config)
    assert ledger(config, "prune").stdout.startswith("1 raw bodies of failed attempts are forgotten")
    assert json.loads(ledger(config, "prune", "--json").stdout)["count"] == 0
    assert shown(config) == before


def test_pruning_a_model_is_only_said_without_yes(config):
    arguments = ("prune", "--stage", "generate", "--model", "m")
    assert "1 replies of m in generate would be forgotten" in ledger(config, *arguments).stdout
    assert json.loads(ledger(config, *arguments, "--json").stdout)["count"] == 1
    assert ledger(config, *arguments, "--yes").stdout.startswith("1 replies of m in generate are forgotten")
    assert json.loads(ledger(config, *arguments, "--yes", "--json").stdout)["count"] == 0
    assert shown(config)["received"][0]["cost_usd"] == 1.5


@pytest.mark.parametrize("half", [["--stage", "generate"], ["--model", "m"]])
def test_pruning_takes_a_stage_and_a_model_together(config, half):
    assert "together" in ledger(config, "prune", *half, code=2).stderr


@pytest.mark.parametrize("command", [["skip"], ["prune"], ["export", "all.jsonl"]])
def test_without_a_ledger_a_command_says_what_makes_one_and_makes_none(config, command):
    (path,) = (config.parent / "runs" / "p").glob("ledger.sqlite")
    path.unlink()
    assert "curate run --stage generate makes one" in ledger(config, *command, code=2).stderr
    assert not path.exists()


def test_without_a_ledger_nothing_was_asked(config):
    (config.parent / "runs" / "p" / "ledger.sqlite").unlink()
    assert "nothing was asked yet" in ledger(config).stdout
    assert shown(config) == {"received": [], "sent": [], "batches": []}


@pytest.mark.parametrize("command", [["skip"], ["resend"], ["prune"]])
def test_while_a_run_holds_the_lock_nothing_is_changed(config, command):
    with writer_lock(config.parent / "runs" / "p"):
        assert "is being written by process" in ledger(config, *command, code=1).stderr


def test_while_a_run_holds_the_lock_the_ledger_is_shown_and_exported(config):
    with writer_lock(config.parent / "runs" / "p"):
        assert shown(config)["sent"][0]["sent"] == 3
        assert len(ledger(config, "export", "-").stdout.splitlines()) == 3
