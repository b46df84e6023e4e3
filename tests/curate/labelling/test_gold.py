"""Gold tasks: which, how many, where; and what a file of them must hold."""

import math

import pytest

from annotators.label_studio.screens import Step
from annotators.label_studio.tasks import PersonTask
from curate.labelling.gold import GoldRow, hidden, mixed, read_gold
from curate.labelling.reports import gold_score
from schemas.errors import SourceError
from tests.conftest import lines

ROWS = [GoldRow(f"Question {number}?", "An answer.", "A correction.") for number in range(8)]


def gold(tasks, rows=ROWS, title="project 0000", share=0.1):
    return hidden(rows, "p", title, Step.CORRECT, math.ceil(share * tasks), 5)


def test_a_growing_project_keeps_its_gold_and_no_row_comes_twice():
    few, many = gold(10), gold(45)
    assert [len(few), len(many), len(gold(1000))] == [1, 5, 8]
    assert many[:1] == few
    assert len({task.uid for task, _ in gold(1000)}) == 8


def test_projects_draw_their_own_gold():
    assert {task.uid for task, _ in gold(1000)}.isdisjoint(task.uid for task, _ in gold(1000, title="project 0001"))


def test_gold_looks_like_any_other_task_and_belongs_to_no_pair():
    ((task, expected),) = gold(10)
    assert (task.pair_id, task.step, len(task.uid), task.draft) == ("", Step.CORRECT, 32, "An answer.")
    assert (expected.verdict, expected.correction) == ("changed", "A correction.")


def test_gold_is_spread_among_the_others_which_keep_their_order():
    tasks = [PersonTask(f"{number:032x}", "pair", "Q?", "A.", "A.") for number in range(100)]
    shuffled = mixed(tasks, [task for task, _ in gold(100, share=0.08)])
    places = [place for place, task in enumerate(shuffled) if not task.pair_id]
    assert [task for task in shuffled if task.pair_id] == tasks
    assert len(places) == 8
    assert places != [*range(8)]
    assert max(places) - min(places) > 30


@pytest.mark.parametrize(
    ("correction", "verdict"), [("An answer.", "fine"), ("Another.", "changed"), ("", "reject"), (" \n", "reject")]
)
def test_a_gold_row_says_what_is_right(correction, verdict):
    assert GoldRow("Q?", "An answer.", correction).verdict == verdict


@pytest.mark.parametrize(
    ("expected", "known", "verdict", "text", "score"),
    [
        ("fine", None, "fine", "The answer.", 1.0),
        ("fine", None, "minor", "Changed.", 0.0),
        ("changed", "abcd", "major", "abcd", 1.0),
        ("changed", "abcd", "minor", "abxx", 0.5),
        ("changed", "abcd", "fine", "abcd", 0.0),
        ("reject", None, "reject", None, 1.0),
        ("reject", None, "minor", "Text.", 0.0),
    ],
)
def test_the_score_is_0_for_another_verdict_and_else_the_likeness(expected, known, verdict, text, score):
    assert gold_score(expected, known, verdict, text) == score


def test_a_broken_gold_file_is_told_by_row(tmp_path):
    path = lines(tmp_path / "gold.jsonl", [{"question": "Q", "answer": "A", "correction": "A"}, {"question": "Q"}])
    with pytest.raises(SourceError, match=r"gold.jsonl, row 2: no text under answer, correction"):
        read_gold(path, "gold.jsonl")
    with pytest.raises(SourceError, match=r"there is no file x.jsonl"):
        read_gold(tmp_path / "x.jsonl", "x.jsonl")
    with pytest.raises(SourceError, match="the file has no bytes"):
        read_gold(lines(tmp_path / "empty.jsonl", []), "empty.jsonl")
