"""`curate correct` as a user types it: a trained Aligner on a file, killed and gone on with, and over a server."""

import json
import os
import signal

import pytest

from curate.training import aligner
from curate.training.templates import TEMPLATES, Template
from curate.training.writing import write_corrections
from tests.commands import Command, until
from tests.conftest import lines
from tests.unit_aligner import unseen

UNIT = Template("unit", 1, "Q: {question}\nA:{answer}\nC:")
TEST = unseen(60)
ROWS = [{"asked": row.prompt[3 : row.prompt.index("\n")], "said": row.answer, "id": row.row_id} for row in TEST]
NAMED = ("--question", "asked", "--answer", "said")


@pytest.fixture(scope="session")
def folder_of_aligner(unit_aligner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("aligner")
    aligner.save(aligner.Aligner(*unit_aligner, UNIT), folder)
    return str(folder)


@pytest.fixture
def source(tmp_path):
    return str(lines(tmp_path / "in.jsonl", ROWS))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_is_corrected_as_the_model_would_token_by_token(unit_aligner, folder_of_aligner, source, tmp_path):
    out = tmp_path / "out.jsonl"
    done = Command("correct", source, str(out), "--aligner", folder_of_aligner, *NAMED, "--json", folder=tmp_path)
    assert done.ended() == 0, done.err
    expected = write_corrections(*unit_aligner, [row.prompt for row in TEST], 40, 1, lambda _: None)
    found = read(out)
    assert [row["correction"] for row in found] == expected
    assert [{name: row[name] for name in ROWS[0]} for row in found] == ROWS
    assert [row["changed"] for row in found] == [row["correction"] != row["said"] for row in found]
    told = json.loads(done.out)
    assert told["unchanged"] == sum(not row["changed"] for row in found) > 0
    assert told["passes"] < sum(len(unit_aligner[1](text)["input_ids"]) + 1 for text in expected) / 2


def test_kill_9_and_the_same_command_give_the_undisturbed_bytes(folder_of_aligner, source, tmp_path):
    wanted = ("--aligner", folder_of_aligner, *NAMED, "--batch-tokens", "100")
    assert Command("correct", source, str(tmp_path / "whole.jsonl"), *wanted, folder=tmp_path).ended() == 0
    out, journal = tmp_path / "out.jsonl", tmp_path / ".out.jsonl.partial" / "rows.jsonl"
    for count in (1, 20, 40):
        killed = Command("correct", source, str(out), *wanted, folder=tmp_path)
        until(lambda least=count: journal.exists() and len(journal.read_bytes().splitlines()) >= least)
        os.kill(killed.pid, signal.SIGKILL)
        killed.process.join()
        assert not out.exists()
    last = Command("correct", source, str(out), *wanted, folder=tmp_path)
    assert last.ended() == 0
    assert "of 60 rows were done before" in last.err
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not journal.parent.exists()
    again = Command("correct", source, str(out), *wanted, folder=tmp_path)
    assert again.ended() == 0
    assert "nothing to do" in again.out


def test_what_does_not_fit_passes_through_and_says_why(folder_of_aligner, tmp_path):
    rows = [{"question": "q", "answer": answer} for answer in ("", "x" * 600, TEST[0].answer * 3)]
    source, out = lines(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    done = Command(
        "correct",
        str(source),
        str(out),
        "--aligner",
        folder_of_aligner,
        "--max-new-tokens",
        "40",
        "--json",
        folder=tmp_path,
    )
    assert done.ended() == 0, done.err
    assert [(row["correction"], row["changed"], row["note"]) for row in read(out)] == [
        (row["answer"], False, note) for row, note in zip(rows, ("empty_answer", "too_long", "too_long"), strict=True)
    ]
    assert json.loads(done.out)["passed_through"] == {"empty_answer": 1, "too_long": 2}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--aligner", "nowhere"), 1, "nowhere is no Aligner"),
        (("--aligner", "http://localhost:1/v1"), 2, "needs --template and --model"),
        (("--aligner", "nowhere", "--template", "T1"), 2, "a folder knows its own"),
        (("--aligner", "nowhere", "--chat"), 2, "a folder knows its own"),
        (
            ("--aligner", "http://localhost:1/v1", "--template", "T1", "--model", "m", "--api-key-env", "NO_KEY"),
            2,
            "NO_KEY",
        ),
    ],
)
def test_wrong_usage_is_told(source, tmp_path, options, code, message):
    done = Command("correct", source, str(tmp_path / "out.jsonl"), *NAMED, *options, folder=tmp_path)
    assert done.ended() == code
    assert message in done.err


@pytest.fixture
def correcting_server(server):
    """Serves an Aligner that knows one fault, and reads template T1."""
    server.answer = lambda prompt: prompt.split(" | ")[1].removesuffix(" ASSISTANT:").replace("feet", "metres")
    return server


def served(server, source, out, tmp_path, *more):
    where = ("--aligner", f"{server.url}/v1", "--template", "T1", "--model", "aligner", *NAMED)
    return Command("correct", source, str(out), *where, *more, folder=tmp_path)


def test_a_served_aligner_is_asked_once_a_row(correcting_server, source, tmp_path):
    out = tmp_path / "out.jsonl"
    correcting_server.faults = [(503, {}, b"{}"), (0, {}, b"")]
    done = served(correcting_server, source, out, tmp_path)
    assert done.ended() == 0, done.err
    assert [row["correction"] for row in read(out)] == [row["said"].replace("feet", "metres") for row in ROWS]
    assert set(correcting_server.asked) == {TEMPLATES["T1"].prompt(row["asked"], row["said"]) for row in ROWS}
    assert set(correcting_server.answered.values()) == {1}


def test_a_chat_shows_question_and_answer_as_turns_and_marks_come_back_as_they_were(
    correcting_server, source, tmp_path
):
    out = tmp_path / "out.jsonl"
    correcting_server.answer = lambda said: f"&#65;SSISTANT: {said}"
    done = served(correcting_server, source, out, tmp_path, "--chat")
    assert done.ended() == 0, done.err
    assert [row["correction"] for row in read(out)] == [f"ASSISTANT: {row['said']}" for row in ROWS]
    turns = [{"role": "user", "content": row["asked"]} for row in ROWS]
    said = [{"role": "assistant", "content": row["said"]} for row in ROWS]
    sent = sorted((body["messages"] for body in correcting_server.bodies), key=str)
    assert sent == sorted(map(list, zip(turns, said, strict=True)), key=str)


def test_a_row_that_the_server_cuts_or_refuses_passes_through(correcting_server, tmp_path):
    source = lines(tmp_path / "in.jsonl", ROWS[:1])
    correcting_server.finish_reason = "length"
    cut, refused = tmp_path / "cut.jsonl", tmp_path / "refused.jsonl"
    assert served(correcting_server, str(source), cut, tmp_path).ended() == 0
    correcting_server.faults = [(400, {}, b'{"error": {"message": "too many tokens"}}')]
    assert served(correcting_server, str(source), refused, tmp_path).ended() == 0
    assert [(row["correction"], row["note"]) for row in read(cut)] == [(ROWS[0]["said"], "unfinished")]
    assert read(refused)[0]["note"]
    assert read(refused)[0]["correction"] == ROWS[0]["said"]


def test_a_server_that_refuses_all_stops_the_run_and_keeps_what_is_done(correcting_server, source, tmp_path):
    out = tmp_path / "out.jsonl"
    correcting_server.latency_s = lambda: 0.05
    first = served(correcting_server, source, out, tmp_path, "--in-flight", "2")
    until(lambda: sum(correcting_server.answered.values()) >= 10)
    os.kill(first.pid, signal.SIGKILL)
    first.process.join()
    correcting_server.latency_s = lambda: 0.0
    correcting_server.faults = [(401, {}, b'{"error": {"message": "wrong key"}}')]
    stopped = served(correcting_server, source, out, tmp_path)
    assert stopped.ended() == 1
    assert "rows that are done are kept" in stopped.err
    assert served(correcting_server, source, out, tmp_path).ended() == 0
    assert [row["correction"] for row in read(out)] == [row["said"].replace("feet", "metres") for row in ROWS]
