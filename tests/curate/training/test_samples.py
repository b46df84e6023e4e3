"""Sample corrections: which rows are shown, and how they look in passing."""

import io
import json

import pytest

from curate.progress import Progress
from curate.training.logs import EvaluationsSaid, Logs
from curate.training.samples import SPARE, in_a_line, shown
from curate.training.speed import StepLog
from curate.training.tokens import TokenRow

ANSWERS = {one: f"answer {one}" for one in "abcdefghz"}


def held_out(changed: str, same: str) -> tuple[list[TokenRow], list[TokenRow]]:
    """Rows and their copies; a letter each."""
    ids = sorted(changed + same, reverse=True)
    rows = [TokenRow(one, [1, 1, 3, 4, 5, 2] if one in changed else [1, 1, 3, 2], 2) for one in ids]
    return rows, [TokenRow(one, [1, 1, 3, 2], 2) for one in ids]


@pytest.mark.parametrize(
    ("changed", "same", "count", "expected"),
    [
        ("abef", "cdgh", 4, "abcd"),
        ("adef", "bc", 3, "abd"),
        ("abcdef", "z", 4, "abcz"),
        ("z", "abcdef", 4, "abcz"),
        ("a", "b", 4, "ab"),
        ("ab", "cd", 0, ""),
        ("", "", 4, ""),
    ],
)
def test_half_of_the_samples_are_rows_to_change_and_half_to_leave(changed, same, count, expected):
    chosen = shown(*held_out(changed, same), ANSWERS, count, 1024)
    assert "".join(row.row_id for row in chosen.rows) == expected
    assert all(row.ids == [1, 1, 3, 2] for row in chosen.rows)
    assert chosen.answers == {one: ANSWERS[one] for one in expected}


def test_a_sample_may_be_little_longer_than_its_row_and_no_longer_than_any_row():
    assert shown(*held_out("a", "b"), ANSWERS, 2, 1024).max_new_tokens == 4 + SPARE
    assert shown(*held_out("a", "b"), ANSWERS, 1, 30).max_new_tokens == 30


def test_a_change_is_read_in_passing():
    answer = "The tower stands on a hill. " * 4 + "It is 421 feet tall." + " That is high." * 8
    line = in_a_line(answer, answer.replace("421 feet", "128 metres"))
    assert line == (
        "The tower stands on a hi … stands on a hill. It is [-421 feet-]{+128 metres+} "
        "tall. That is high. Tha … t is high. That is high."
    )
    assert len(in_a_line("a", "b c " * 1000)) <= 301


def test_a_hostile_correction_moves_no_cursor_and_starts_no_line():
    stream = io.StringIO()
    said = EvaluationsSaid(Progress("train", stream).say, {"row": "fine"})
    sample = {"triple_id": "row", "aligner_correction": "fi\x1b[2J\rne\n\u202eeno", "has_ended": True}
    said.write({"phase": "correct", "step": 1, "epoch": 1, **sample})
    text = stream.getvalue()
    assert text.startswith("train:   row changed: ")
    assert text.count("\n") == 1
    assert not {"\x1b", "\r", "\u202e"} & set(text)


def test_one_line_goes_to_each_log_and_only_evaluations_are_said(tmp_path):
    said: list[str] = []
    log = Logs(StepLog(tmp_path / "steps.jsonl"), EvaluationsSaid(said.append, {"row": "same"}))
    log.write({"phase": "correct", "step": 7, "epoch": 1, "loss": 1.0})
    log.write({"phase": "correct", "step": 7, "epoch": 1, "held_out_loss": 1.25})
    log.write({"triple_id": "row", "aligner_correction": "same", "has_ended": True})
    log.write({"triple_id": "row", "aligner_correction": "same same", "has_ended": False})
    log.close()
    assert said == [
        "correct: after step 7 (epoch 1) the held-out loss is 1.250 nats/token",
        "  row copied: same",
        "  row changed, and cut: same{+ same+}",
    ]
    lines = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [line.get("step") for line in lines] == [7, 7, None, None]
