"""Titles and places of tasks."""

from annotators.label_studio.screens import Step
from annotators.label_studio.tasks import PersonTask
from curate.labelling.projects import sharded, titles_of


def tasks(count):
    return [PersonTask(f"{number:032x}", "pair", "Q?", "A.", "A.") for number in range(count)]


def test_titles_tell_pipelines_annotators_and_configurations_apart_within_50_characters():
    long, longer = "aligner-50k-of-a-team", "aligner-50k-of-a-team-2"
    names = [
        titles_of(pipeline, annotator, step, "screen", told)[0]
        for pipeline in (long, longer)
        for annotator in ("annotators one", "annotators two")
        for step in Step
        for told in ("be kind", "be short")
    ]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 50


def test_titles_have_no_white_space_that_a_server_would_cut():
    (title, *_) = titles_of(" a  team ", " ", Step.CORRECT, "screen", "told")
    assert title == " ".join(title.split())


def test_new_tasks_fill_the_last_project_and_old_ones_stay():
    found = sharded(tasks(5), {"a": 3, "b": 1}, {f"{0:032x}": "a"}, ["a", "b", "c"], 3)
    assert {title: [int(task.uid, 16) for task in there] for title, there in found.items()} == {
        "a": [0],
        "b": [1, 2],
        "c": [3, 4],
    }
