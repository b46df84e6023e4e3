"""A file is corrected once, whatever happens: kill -9 before any write, other inputs, broken rows, any format."""

import json
import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from curate.correcting.journal import Journal, Line, folder_of
from curate.correcting.rows import Source
from curate.correcting.work import Job, correct
from curate.progress import Progress
from schemas.errors import LockedError, SourceError, StageError, UsageError
from tests.conftest import lines
from tests.crashing import PRELOADED, TOUCHES

ROWS = [{"question": f"q {n}", "answer": f"good {n}" if n % 3 else f"bad {n}", "id": n} for n in range(10)]


def writer(asked: Path):
    """Writes `good` for `bad`, two rows at a time, the last ones first; which rows it was asked for goes to a file."""

    def written(found):
        order = list(reversed(found))
        for start in range(0, len(order), 2):
            pair = order[start : start + 2]
            with asked.open("a") as file:
                file.write("".join(f"{row.number}\n" for row in pair))
            yield [
                Line(row.number, row.answer.replace("bad", "good") if "bad" in row.answer else None, passes=1)
                for row in pair
            ]

    return written


def job(folder: Path, out: str = "out.jsonl", source: str = "in.jsonl", **settings: str) -> Job:
    made = partial(writer, folder / "asked.txt")
    return Job(Source(folder / source, slice_rows=4), folder / out, {"aligner": "one", **settings}, made)


def run(one: Job, *, again: bool = False) -> dict:
    return correct(one, Progress("correct"), again=again)


@pytest.fixture
def folder(tmp_path) -> Path:
    lines(tmp_path / "in.jsonl", ROWS)
    return tmp_path


def test_rows_keep_their_order_and_columns(folder):
    done = run(job(folder))
    found = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [{name: row[name] for name in ROWS[0]} for row in found] == ROWS
    assert found[0] == {**ROWS[0], "correction": "good 0", "changed": True, "edit_ratio": 0.5, "note": None}
    assert found[1] == {**ROWS[1], "correction": "good 1", "changed": False, "edit_ratio": 0.0, "note": None}
    assert (done["rows"], done["changed"], done["unchanged"], done["passes"]) == (10, 4, 6, 10)


def test_a_second_run_does_nothing(folder):
    first = run(job(folder))
    again = run(job(folder))
    assert again == {**first, "ran": False}
    assert len((folder / "asked.txt").read_text().splitlines()) == len(ROWS)
    assert sorted(path.name for path in folder.iterdir()) == [
        "asked.txt",
        "in.jsonl",
        "out.jsonl",
        "out.jsonl.manifest.json",
    ]


def test_a_result_of_something_else_is_not_overwritten(folder):
    run(job(folder))
    with pytest.raises(UsageError, match="is there already, and not from this input"):
        run(job(folder, device="cuda"))
    assert run(job(folder, device="cuda"), again=True)["ran"]


def test_rows_of_another_work_are_refused_with_what_differs(folder):
    lines(folder / "in.jsonl", ROWS)
    begun = job(folder)
    folder_of(begun.out).mkdir()
    _killed(folder, 12)
    lines(folder / "in.jsonl", ROWS[1:])
    with pytest.raises(StageError, match=r"(?s)rows of another work: input was .* now .*--again"):
        run(begun)
    with pytest.raises(StageError, match="aligner was one, now two"):
        run(job(folder, aligner="two"))
    assert run(begun, again=True)["rows"] == 9


def test_one_run_at_a_time(folder):
    from curate.store.lock import writer_lock

    with writer_lock(folder_of(folder / "out.jsonl")), pytest.raises(LockedError):
        run(job(folder))


@pytest.mark.parametrize("out", ["out.jsonl", "out.parquet"])
def test_kill_9_before_any_touch_costs_only_the_rows_in_flight(folder, out):
    undisturbed = folder / f"undisturbed.{out}"
    run(job(folder, undisturbed.name))
    touches = _killed(folder, None, out)
    for path in folder.glob("out*"):
        path.unlink()
    for touch in range(1, touches + 1):
        assert _killed(folder, touch, out) == touch
        partial_folder = folder_of(folder / out)
        known = set()
        if (partial_folder / "key.json").exists() and (partial_folder / "rows.jsonl").exists():
            journal = Journal(partial_folder)
            known = {line.row for line in journal.lines()}
            journal.close()
        (folder / "asked.txt").unlink(missing_ok=True)
        run(job(folder, out))
        asked = (folder / "asked.txt").read_text().split() if (folder / "asked.txt").exists() else []
        assert not {int(number) for number in asked} & known
        assert (folder / out).read_bytes() == undisturbed.read_bytes()
        assert not partial_folder.exists()
        for path in folder.glob("out*"):
            path.unlink()


def test_a_line_that_a_crash_cut_is_forgotten(tmp_path):
    journal = Journal(tmp_path)
    journal.append([Line(0), Line(2, "x")])
    journal.close()
    with (tmp_path / "rows.jsonl").open("ab") as file:
        file.write(b'{"row":1,"corr')
    journal = Journal(tmp_path)
    journal.append([Line(1, note="too_long")])
    assert list(journal.lines()) == [Line(0), Line(2, "x"), Line(1, note="too_long")]
    assert journal.count == 3
    journal.close()


def test_empty_answers_pass_through(folder):
    lines(folder / "in.jsonl", [{"question": "q", "answer": " "}, {"question": "", "answer": "bad"}])
    done = run(job(folder))
    found = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [(row["correction"], row["changed"], row["note"]) for row in found] == [
        (" ", False, "empty_answer"),
        ("good", True, None),
    ]
    assert done["passed_through"] == {"empty_answer": 1}


def test_every_format_is_read_and_parquet_keeps_its_types(folder):
    frame = pl.DataFrame(ROWS).with_columns(pl.col("id").cast(pl.Int16), day=pl.date(2026, 11, 26))
    frame.write_parquet(folder / "in.parquet")
    frame.write_csv(folder / "in.csv")
    (folder / "in.json").write_text(json.dumps(ROWS))
    for name in ("in.parquet", "in.csv", "in.json"):
        run(job(folder, f"{name}.out.parquet", name))
    found = {name: pl.read_parquet(folder / f"{name}.out.parquet") for name in ("in.parquet", "in.csv", "in.json")}
    assert found["in.parquet"].select(frame.columns).equals(frame)
    assert found["in.parquet"].schema["note"] == pl.String
    for one in found.values():
        assert one["correction"].to_list() == found["in.parquet"]["correction"].to_list()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q"}, r"row 11: it has no column answer \(it has question\)"),
        ({"question": "q", "answer": None}, "row 11: answer is no text, but of type NoneType"),
        ({"question": "q", "answer": "a", "note": "n"}, "row 11: it has a column note already"),
        (["q", "a"], "row 11: it is no object with columns, but of type list"),
    ],
)
def test_a_bad_row_is_refused_with_file_and_row_before_any_work(folder, row, message):
    lines(folder / "in.jsonl", [*ROWS, row])
    with pytest.raises(SourceError, match=f"in.jsonl: {message}"):
        run(job(folder))
    assert [path.name for path in folder.iterdir()] == ["in.jsonl"]


def test_many_bad_rows_are_counted(folder):
    (folder / "in.jsonl").write_text("{\n" * 7)
    with pytest.raises(SourceError, match=r"row 1: .*row 5: .*\(and 2 more\)"):
        run(job(folder))


def test_a_column_of_several_types_is_no_parquet(folder):
    lines(folder / "in.jsonl", [{**ROWS[0], "id": [1]}, {**ROWS[1], "id": {"a": 2}}])
    with pytest.raises(SourceError, match=r"rows 1 to 2 make no table"):
        run(job(folder, "out.parquet"))


@pytest.mark.parametrize("out", ["out.csv", "out.jsonl.gz"])
def test_other_formats_are_not_written(folder, out):
    with pytest.raises(UsageError, match="cannot write this format"):
        run(job(folder, out))


def test_the_input_is_not_overwritten(folder):
    with pytest.raises(UsageError, match="is the input"):
        run(job(folder, "in.jsonl"), again=True)


def _killed(folder: Path, touch: int | None, out: str = "out.jsonl") -> int:
    """Correct in a process of its own that is killed before its touch of this number; how many touches there were."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    counted = context.Value("i", 0)
    process = context.Process(target=_run, args=(folder, touch, counted, out))
    process.start()
    process.join(60)
    assert process.exitcode == (0 if touch is None else -signal.SIGKILL)
    return counted.value


def _run(folder: Path, touch: int | None, counted, out: str) -> None:
    name = str(folder_of(folder / out)), str(folder / out), str(folder / f".{out}")

    def hook(event: str, arguments: tuple) -> None:
        if event in TOUCHES and arguments and str(arguments[0]).startswith(name):
            counted.value += 1
            if counted.value == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    import sys

    sys.addaudithook(hook)
    run(job(folder, out))
