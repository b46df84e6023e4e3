"""Progress on a terminal rewrites itself, in a log it is calm, for programs it is JSON; nobody's words move the cursor."""

import io
import json
import os
import pty
import select
import time
from collections.abc import Callable

import pytest

from curate.progress import Progress

ODD = "evil\x1b[2J\x07\r\n\u202e\x9b1Amodel"


def on_terminal(tell: Callable[[Progress], None], *, every_s: float = 0.0) -> str:
    """What a pseudo-terminal gets from a progress of stage `s`."""
    master, slave = pty.openpty()
    got = b""
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        tell(Progress("s", stream, every_s=every_s))
        while select.select([master], [], [], 0.05)[0]:
            got += os.read(master, 65536)
    os.close(master)
    return got.decode("utf-8").replace("\r\n", "\n")


def in_log(tell: Callable[[Progress], None], *, as_json: bool = False, every_s: float = 0.0) -> list[str]:
    out = io.StringIO()
    tell(Progress("s", out, every_s=every_s, as_json=as_json))
    return out.getvalue().splitlines()


def twice(progress: Progress) -> None:
    progress.lines(["a: 1", "b: 1"], [{"model": "a"}, {"model": "b"}])
    progress.lines(["a: 2", "b: 2"], [{"model": "a"}, {"model": "b"}])


def test_a_terminal_goes_back_over_the_lines_it_wrote():
    assert on_terminal(twice) == "s: a: 1\ns: b: 1\n\x1b[2A\x1b[Js: a: 2\ns: b: 2\n"


def test_what_must_be_seen_stays_on_a_terminal():
    def tell(progress: Progress) -> None:
        progress.update("1")
        progress.say("stopping")
        progress.update("2")

    assert on_terminal(tell) == "s: 1\n\x1b[1A\x1b[Js: stopping\ns: 2\n"


def test_fewer_lines_than_before_leave_nothing_behind():
    def tell(progress: Progress) -> None:
        twice(progress)
        progress.lines(["a: 3"], [{}])
        progress.lines(["a: 4"], [{}])

    assert on_terminal(tell).endswith("\x1b[2A\x1b[Js: a: 3\n\x1b[1A\x1b[Js: a: 4\n")


def test_a_log_gets_one_line_after_the_other():
    assert in_log(twice) == ["s: a: 1", "s: b: 1", "s: a: 2", "s: b: 2"]


def test_a_program_gets_one_object_a_line():
    events = [json.loads(line) for line in in_log(twice, as_json=True)]
    assert events == [{"event": "progress", "stage": "s", "model": name} for name in ("a", "b", "a", "b")]


def test_a_note_is_an_event_of_its_own():
    (note,) = in_log(lambda progress: progress.say("stopping"), as_json=True)
    assert json.loads(note) == {"event": "note", "stage": "s", "text": "stopping"}


@pytest.mark.parametrize("tell", [lambda one: one.update(ODD), lambda one: one.say(ODD)], ids=["update", "say"])
def test_no_name_moves_the_cursor_or_turns_the_text(tell):
    line = on_terminal(tell)
    assert line.startswith("s: evil [2J")
    assert not set(line) & set("\x1b\x07\r\u202e\x9b")
    assert line.count("\n") == 1


@pytest.mark.parametrize("name", [ODD, "half \ud83d of a pair"])
def test_json_for_programs_is_plain_ascii_and_gives_the_name_back(name):
    (line,) = in_log(lambda progress: progress.lines(["x"], [{"model": name}]), as_json=True)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["model"] == name


def test_reports_come_no_more_often_than_asked_for():
    def tell(progress: Progress) -> None:
        for number in range(100):
            progress.update(str(number))
            time.sleep(0.005)

    started = time.monotonic()
    told = in_log(tell, every_s=0.2)
    assert 1 <= len(told) <= (time.monotonic() - started) / (0.2 * 0.9)


def test_a_terminal_is_told_at_once_and_a_log_after_a_while():
    assert on_terminal(lambda progress: progress.update("first"), every_s=10.0) == "s: first\n"
    assert in_log(lambda progress: progress.update("first"), every_s=10.0) == []


@pytest.mark.parametrize(("as_json", "every_s"), [(False, 10.0), (True, 1.0)])
def test_how_often_a_log_and_a_program_are_told(as_json, every_s):
    assert Progress("s", io.StringIO(), as_json=as_json).every_s == every_s


def test_a_long_line_does_not_wrap_on_a_terminal():
    line = on_terminal(lambda progress: progress.update("x" * 5000))
    assert len(line) < 5000
    assert line.count("\n") == 1


def test_the_last_report_needs_a_first_one():
    assert in_log(lambda progress: progress.last_lines(["end"], [{}])) == []
