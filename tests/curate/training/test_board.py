"""Event files for TensorBoard: each step shows once, however often the run was killed."""

import sys

import pytest

from curate.training.board import Board, require_board
from schemas.errors import MissingExtraError
from tests.curate.training.events import events, shown


def step(number: int, loss: float) -> dict[str, object]:
    return {"phase": "correct", "step": number, "loss": loss, "lr": 0.5, "mfu": None, "peak_process_bytes": 2048}


def test_a_step_is_shown_with_all_figures_that_it_has(tmp_path):
    board = Board(tmp_path)
    board.write(step(1, 2.0))
    board.write({"phase": "correct", "step": 1, "held_out_loss": 3.0})
    board.write({"phase": "correct", "step": 1, "aligner_correction": "text"})
    board.write({"event": "resumed", "phase": "correct", "step": 1})
    board.close()
    assert shown(tmp_path / "correct") == {
        "loss/training": [(1, 2.0)],
        "learning_rate": [(1, 0.5)],
        "memory/peak_process_bytes": [(1, 2048.0)],
        "loss/held_out": [(1, 3.0)],
    }


def test_a_run_that_goes_on_hides_the_steps_that_it_does_again(tmp_path):
    for steps in (range(1, 6), range(4, 7), range(5, 8)):
        board = Board(tmp_path)
        for number in steps:
            board.write(step(number, 10.0 * steps.start + number))
        board.close()
    assert shown(tmp_path / "correct")["loss/training"] == [
        *((1, 11.0), (2, 12.0), (3, 13.0), (4, 44.0)),
        *((5, 55.0), (6, 56.0), (7, 57.0)),
    ]


def test_what_was_written_is_on_the_disk_without_a_close(tmp_path):
    board = Board(tmp_path)
    board.write(step(1, 2.0))
    (path,) = (tmp_path / "correct").iterdir()
    assert events(path)[0].file_version == "brain.Event:2"
    assert shown(tmp_path / "correct")["loss/training"] == [(1, 2.0)]
    board.close()


def test_without_the_library_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match='tensorboardX: install the "tensorboard" extra'):
        require_board()
