"""Drafts, two stages, overlap, gold, inspectors and adjudicators over a real Label Studio."""

import polars as pl
import pytest

from annotators.label_studio.screens import Step
from curate.config.reading import read_pipeline
from curate.config.table import Bounds
from curate.labelling.reports import people, projects
from curate.ledger.labels import LabelBook
from curate.pipeline import run_stage
from curate.stages.annotate.people import pull_work, push_adjudications, push_tasks
from curate.store.run import RunStore
from schemas.errors import ConfigError, UsageError
from tests.conftest import lines
from tests.curate.stages.annotating import answer_to, questions
from tests.curate.stages.peopling import Hands, chose, inspected, peopled, ruled

TEAM = {"name": "team", "kind": "people"}


@pytest.fixture
def work(label_studio, tmp_path, monkeypatch, request):
    """Makes a pipeline with some people, annotated once so that its pairs wait, and gives it with two people's hands."""
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", label_studio.account.token)

    def make(pairs=6, annotators=(TEAM,), overlap=None, **settings):
        name = f"q{abs(hash(request.node.name)) % 10**8}"
        made = peopled(tmp_path, label_studio, name, pairs, list(annotators), overlap, **settings)
        annotate(made)
        return made, Hands(label_studio.url, label_studio.account.token)

    return make


@pytest.fixture
def other(label_studio, second_annotator):
    """The hands of a second person."""
    return Hands(label_studio.url, second_annotator.token)


def annotate(made):
    run_stage(made, "annotate", lambda _: None, again=False)
    return RunStore(made.workdir).published("annotate").accounting


def table(made, name):
    return RunStore(made.workdir).table("annotate", name).collect()


def report(made, of):
    with LabelBook(made.workdir / "ledger.sqlite") as book:
        return of(book)


def project_of(made, step=Step.CORRECT):
    (found,) = [one for one in report(made, projects) if one["step"] == step]
    return found["remote_id"]


def waiting(made):
    return sorted(table(made, "waiting")["reason"].to_list())


def recorded(folder, count):
    rows = [{"question": q, "answer": answer_to(q), "correction": f"Draft of {q}"} for q in questions(count)]
    lines(folder / "drafts.jsonl", rows)
    return {"name": "drafter", "kind": "recorded", "path": "drafts.jsonl", "weight": 0.0}


def test_people_begin_with_the_draft_of_a_model_and_see_what_it_changed(work, tmp_path):
    made, hands = work(3, [{**TEAM, "draft": "drafter"}, recorded(tmp_path, 3)])
    tasks = hands.tasks(project_of(made))
    for task in tasks:
        (prediction,) = task["predictions"]
        assert prediction["result"][0]["value"]["text"] == [f"Draft of {task['data']['question']}"]
        assert "<ins>Draft" in task["data"]["diff"]
    hands.annotate(tasks[0]["id"], ruled("minor", f"Draft of {tasks[0]['data']['question']}"))
    hands.annotate(tasks[1]["id"], ruled("fine", f"Draft of {tasks[1]['data']['question']}"))
    accounting = annotate(made)
    assert (accounting.rows_in, accounting.kept + accounting.dropped, accounting.waiting) == (3, 2, 1)
    texts = set(table(made, "candidates")["text"])
    assert texts == {f"Draft of {tasks[0]['data']['question']}", tasks[1]["data"]["answer"]}


def test_a_draft_must_come_from_somebody_who_is_there(tmp_path, label_studio):
    with pytest.raises(ConfigError, match=r'the draft is to come from "gpt", which is no model .* there are: none'):
        peopled(tmp_path, label_studio, "p", 1, [{**TEAM, "draft": "gpt"}])


def test_two_stages_are_two_projects_and_the_second_text_is_the_correction(work):
    made, hands = work(2, [{**TEAM, "workflow": "two-stage"}])
    one, two = hands.tasks(project_of(made, Step.HARMLESS))
    hands.annotate(one["id"], ruled("major", "Nobody comes to harm by this tower."))
    hands.annotate(two["id"], ruled("reject"))
    accounting = annotate(made)
    assert (accounting.rows_in, accounting.failed, accounting.waiting) == (2, 1, 1)
    assert waiting(made) == [Step.HELPFUL]
    (task,) = hands.tasks(project_of(made, Step.HELPFUL))
    assert task["data"]["harmless"] == "Nobody comes to harm by this tower."
    assert task["data"]["answer"] == one["data"]["answer"]
    hands.annotate(task["id"], ruled("minor", "Nobody comes to harm by this tower, which is 100 feet tall."))
    assert annotate(made).waiting == 0
    assert table(made, "candidates")["text"].to_list() == [
        "Nobody comes to harm by this tower, which is 100 feet tall."
    ]


def test_a_drawn_task_goes_to_several_people_and_their_agreement_is_told(work, other):
    overlap = {"share": 1.0, "people": 2}
    made, hands = work(3, [{**TEAM, "overlap": overlap}], {"adjudicate": "vote"})
    tasks = hands.tasks(project_of(made))
    assert {task["overlap"] for task in tasks} == {2}
    assert annotate(made).waiting == 6
    for number, task in enumerate(tasks):
        text = task["data"]["answer"] + " Yes, it is."
        hands.annotate(task["id"], ruled("minor", text))
        if number < 2:
            other.annotate(task["id"], ruled("fine") if number else ruled("minor", text))
    accounting = annotate(made)
    assert (accounting.rows_in, accounting.kept, accounting.dropped, accounting.waiting) == (6, 2, 2, 2)
    assert waiting(made) == [Step.CORRECT, "others"]
    (row,) = table(made, "agreement").to_dicts()
    assert (row["one"], row["other"], row["pairs"], row["changed_agreement"]) == ("team", "team #2", 2, 0.5)
    shared = [(one["shared"], one["same_verdict"]) for one in report(made, people)]
    assert shared == [(2, 0.5), (2, 0.5)]


def test_gold_is_hidden_counts_for_the_person_and_is_no_data(work, tmp_path):
    rows = [
        {"question": "What is gold?", "answer": "A metal.", "correction": "A metal."},
        {"question": "And silver?", "answer": "A planet.", "correction": "A metal, too."},
    ]
    lines(tmp_path / "gold.jsonl", rows)
    made, hands = work(4, [{**TEAM, "gold": {"path": "gold.jsonl", "share": 0.5}}])
    tasks = hands.tasks(project_of(made))
    assert len(tasks) == 6
    assert len({frozenset(task["data"]) for task in tasks}) == len({len(task["meta"]["uid"]) for task in tasks}) == 1
    assert not any("A metal, too." in str(task) for task in tasks)
    for task in tasks:
        hands.annotate(task["id"], ruled("fine"))
    accounting = annotate(made)
    assert (accounting.rows_in, accounting.kept, accounting.waiting) == (4, 4, 0)
    (one,) = report(made, people)
    assert (one["done"], one["gold"], one["gold_score"]) == (6, 2, 0.5)


def test_an_inspector_accepts_rejects_and_sends_back(work, other):
    made, hands = work(3, [{**TEAM, "inspect_share": 1.0}])
    for task in hands.tasks(project_of(made)):
        hands.annotate(task["id"], ruled("minor", task["data"]["answer"] + " First."))
    accounting = annotate(made)
    assert (accounting.kept, accounting.waiting, waiting(made)) == (0, 3, [Step.INSPECT] * 3)
    queue = hands.tasks(project_of(made, Step.INSPECT))
    assert all(task["data"]["correction"].endswith(" First.") for task in queue)
    for task, verdict in zip(queue, ("accept", "reject", "send_back"), strict=True):
        other.annotate(task["id"], inspected(verdict, f"Why {verdict}?"))
    accounting = annotate(made)
    assert (accounting.kept, accounting.failed, accounting.waiting) == (1, 1, 1)
    assert "Why reject?" in RunStore(made.workdir).table("annotate", "failures").collect()["detail"][0]
    (again,) = hands.tasks(project_of(made, Step.AGAIN))
    assert again["data"]["note"] == "Why send_back?"
    hands.annotate(again["id"], ruled("minor", again["data"]["answer"] + " Second."))
    annotate(made)
    (last,) = [one for one in hands.tasks(project_of(made, Step.INSPECT)) if not one["annotations"]]
    other.annotate(last["id"], inspected("accept"))
    accounting = annotate(made)
    assert (accounting.kept, accounting.failed, accounting.waiting) == (2, 1, 0)
    assert any(text.endswith(" Second.") for text in table(made, "corrections")["text"])
    author = next(one for one in report(made, people) if one["done"])
    assert (author["accepted"], author["rejected"], author["sent_back"]) == (2, 1, 1)


def test_an_adjudicator_chooses_writes_or_gives_up(work, other):
    overlap = {"share": 1.0, "people": 2}
    made, hands = work(4, [{**TEAM, "overlap": overlap}], {"adjudicate": "person"})
    tasks = hands.tasks(project_of(made))
    for number, task in enumerate(tasks):
        hands.annotate(task["id"], ruled("minor", task["data"]["answer"] + " One."))
        other.annotate(task["id"], ruled("minor", task["data"]["answer"] + (" One." if number == 3 else " Other.")))
    accounting = annotate(made)
    assert (accounting.rows_in, accounting.kept, accounting.dropped, accounting.waiting) == (8, 1, 1, 6)
    queue = hands.tasks(project_of(made, Step.ADJUDICATE))
    assert len(queue) == 3
    assert all(
        {task["data"][name].split()[-1] for name in ("text_1", "text_2")} == {"One.", "Other."} for task in queue
    )
    assert not any("person-" in str(task["data"]) for task in queue)
    wanted = queue[0]["data"]["text_2"]
    hands.annotate(queue[0]["id"], chose("text_2"))
    hands.annotate(queue[1]["id"], chose("own", queue[1]["data"]["answer"] + " My own."))
    hands.annotate(queue[2]["id"], chose("reject"))
    accounting = annotate(made)
    assert (accounting.rows_in, accounting.kept, accounting.dropped, accounting.waiting) == (9, 3, 6, 0)
    kept = table(made, "corrections")
    assert wanted in set(kept["text"])
    own = kept.filter(pl.col("annotator") == "adjudicator")
    assert own["text"].str.ends_with(" My own.").all()
    assert own.height == 1
    assert push_adjudications(made, RunStore(made.workdir), lambda _: None) == []


def test_nothing_waits_for_an_adjudicator_where_nobody_asked_for_one(work):
    made, _ = work(1)
    with pytest.raises(UsageError, match="nothing waits for an adjudicator: adjudicate is 'vote'"):
        push_adjudications(made, RunStore(made.workdir), lambda _: None)


def test_tasks_that_nobody_wants_are_taken_back_unless_somebody_began_them(work):
    made, hands = work(4)
    project = project_of(made)
    first, second, *_ = hands.tasks(project)
    hands.call("POST", f"/api/tasks/{first['id']}/drafts", {"result": ruled("minor", "Half a"), "lead_time": 1})
    hands.annotate(second["id"], [], was_cancelled=True)
    file = made.folder / "pipelines.toml"
    file.write_text(file.read_text().replace('"name" = "team"', '"name" = "team"\n"weight" = 0.0') + OTHERS)
    lines(made.folder / "none.jsonl", [{"question": "Q?", "answer": "A.", "correction": "C."}])
    changed = read_pipeline(file).model_copy(update={"name": made.name, "workdir": made.workdir})
    run_stage(changed, "annotate", lambda _: None, again=False)
    assert {task["id"] for task in hands.tasks(project)} == {first["id"], second["id"]}


OTHERS = """
[[pipelines.p.annotate.annotators]]
name = "file"
kind = "recorded"
path = "none.jsonl"
"""


def test_other_principles_move_what_nobody_began_to_a_new_project(work):
    made, hands = work(3)
    old = project_of(made)
    begun, done, _ = hands.tasks(old)
    hands.call("POST", f"/api/tasks/{begun['id']}/drafts", {"result": ruled("minor", "Half a"), "lead_time": 1})
    hands.annotate(done["id"], ruled("fine"))
    team = made.config.annotate.annotators[0].model_copy(update={"principles": ("helpful",)})
    config = made.config.model_copy(
        update={"annotate": made.config.annotate.model_copy(update={"annotators": (team,)})}
    )
    changed = made.model_copy(update={"config": config})
    (pushed,) = push_tasks(changed, RunStore(made.workdir), lambda _: None)
    assert pushed.sent == 1
    assert {task["id"] for task in hands.tasks(old)} == {begun["id"], done["id"]}
    (moved,) = hands.tasks(pushed.project_id)
    hands.annotate(moved["id"], ruled("fine"))
    hands.annotate(begun["id"], ruled("fine"))
    assert annotate(changed).kept == 3


def test_what_people_did_stays_when_their_project_is_removed_and_the_rest_moves(work):
    made, hands = work(4)
    tasks = hands.tasks(project_of(made))
    for task in tasks[:2]:
        hands.annotate(task["id"], ruled("fine"))
    hands.annotate(tasks[2]["id"], ruled("splendid"))
    assert annotate(made).kept == 2
    hands.call("DELETE", f"/api/projects/{project_of(made)}/")
    said = []
    pull_work(made, said.append)
    assert "not on this server any more" in said[0]
    (pushed,) = push_tasks(made, RunStore(made.workdir), lambda _: None)
    assert pushed.sent == 2
    for task in hands.tasks(pushed.project_id):
        hands.annotate(task["id"], ruled("minor", task["data"]["answer"] + " In the new project."))
    accounting = annotate(made)
    assert (accounting.kept, accounting.waiting) == (4, 0)
    assert table(made, "candidates")["text"].str.ends_with(" In the new project.").sum() == 2
    assert annotate(made).kept == 4


def test_tasks_of_people_who_are_not_asked_any_more_are_taken_back(work):
    made, hands = work(2)
    project = project_of(made)
    team = made.config.annotate.annotators[0].model_copy(update={"name": "others"})
    config = made.config.model_copy(
        update={"annotate": made.config.annotate.model_copy(update={"annotators": (team,)})}
    )
    changed = made.model_copy(update={"config": config})
    annotate(changed)
    assert hands.tasks(project) == []
    assert sorted(one["tasks"] for one in report(made, projects)) == [0, 2]


def test_a_decision_stays_when_only_one_correction_is_left(work, other):
    made, hands = work(1, [{**TEAM, "overlap": {"share": 1.0, "people": 2}}], {"adjudicate": "person"})
    (task,) = hands.tasks(project_of(made))
    hands.annotate(task["id"], ruled("minor", task["data"]["answer"] + " One."))
    other.annotate(task["id"], ruled("minor", task["data"]["answer"] + " Other." * 30))
    annotate(made)
    (queue,) = hands.tasks(project_of(made, Step.ADJUDICATE))
    hands.annotate(queue["id"], chose("reject"))
    accounting = annotate(made)
    assert (accounting.kept, accounting.waiting) == (0, 0)
    config = made.config.annotate.model_copy(update={"gates": {"size.ratio": Bounds(max=2.0)}})
    changed = made.model_copy(update={"config": made.config.model_copy(update={"annotate": config})})
    accounting = annotate(changed)
    assert (accounting.kept, accounting.dropped) == (0, 2)
    assert RunStore(made.workdir).published("annotate").dropped_by == {"size.ratio": 1, "adjudication.person": 1}
