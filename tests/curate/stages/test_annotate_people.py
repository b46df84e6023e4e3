"""People's work over a real Label Studio: each task once, each ruling once, whatever breaks on the way."""

import polars as pl
import pytest

from annotators.label_studio.accounts import add_user, personal_access_token
from curate.labelling.reports import people, projects, quarantine
from curate.pipeline import run_stage
from curate.stages.annotate.people import pull_work, push_tasks, server_of
from curate.store.run import RunStore
from schemas.errors import ConfigError, LabelStudioError
from tests.curate.stages.peopling import Hands, annotate, book, peopled, project_of, push, ruled

HOSTILE = "<script>document.title='hacked'</script><img src=http://127.0.0.1:9/x.png> <iframe src='//x'> &amp; {{x}}"


@pytest.fixture
def work(label_studio, tmp_path, monkeypatch, request):
    """Makes a pipeline, annotated once so that its pairs wait, and gives it with the hands of the administrator."""
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", label_studio.account.token)

    def make(pairs=6, **settings):
        name = f"t{abs(hash(request.node.name)) % 10**8}"
        made = peopled(tmp_path, label_studio, name, pairs, **settings)
        annotate(made)
        return made, Hands(label_studio.url, label_studio.account.token)

    return make


def pull(made, **keys):
    return pull_work(made, lambda _: None, **keys)


def table(made, name):
    return RunStore(made.workdir).table("annotate", name).collect()


def test_a_run_pushes_what_waits_and_a_second_push_sends_nothing(work):
    made, hands = work()
    tasks = hands.tasks(project_of(made))
    assert len(tasks) == 6
    (again,) = push(made)
    assert (again.tasks, again.sent, again.removed) == (6, 0, 0)
    assert len(hands.tasks(project_of(made))) == 6
    assert {task["data"]["question"] for task in tasks} == set(
        RunStore(made.workdir).table("dedup", "pairs").collect()["question"]
    )


def test_what_people_wrote_becomes_corrections_and_copies_are_the_answer(work):
    made, hands = work()
    tasks = hands.tasks(project_of(made))
    for number, task in enumerate(tasks):
        verdict = ("minor", "fine", "reject")[number % 3]
        hands.annotate(task["id"], ruled(verdict, task["data"]["answer"] + " Yes." if verdict == "minor" else None))
    published = annotate(made)
    rows = published.accounting
    assert (rows.rows_in, rows.kept, rows.failed, rows.waiting) == (6, 4, 2, 0)
    assert published.failed_by == {"rejected": 2}
    pairs = RunStore(made.workdir).table("dedup", "pairs").collect()
    joined = table(made, "corrections").join(pairs, on="pair_id")
    assert (joined["text"] == joined["answer"]).sum() == 2
    assert joined["text"].str.ends_with(" Yes.").sum() == 2
    assert set(joined["annotator_kind"]) == {"person"}
    assert set(joined["seconds_spent"]) == {12.5}
    assert joined["task_id"].str.contains(r":person-[0-9a-f]{8}$").all()


def test_an_edit_after_a_pull_is_a_new_version_and_counts(work):
    made, hands = work(pairs=1)
    (task,) = hands.tasks(project_of(made))
    annotation = hands.annotate(task["id"], ruled("minor", "First text of a person."))
    annotate(made)
    hands.change(annotation, ruled("major", "Second text of a person."))
    annotate(made)
    assert table(made, "candidates")["text"].to_list() == ["Second text of a person."]
    with book(made) as opened:
        rows = opened._all("SELECT version, text FROM label_annotations ORDER BY version", ())
    assert [tuple(row) for row in rows] == [(1, "First text of a person."), (2, "Second text of a person.")]
    (again,) = pull(made)
    assert again.new == 0


def test_what_cannot_be_used_is_in_quarantine_with_the_reason(work):
    made, hands = work(pairs=3)
    one, two, three = hands.tasks(project_of(made))
    hands.annotate(one["id"], ruled("splendid", "Text."))
    wrong = {"from_name": "notes", "to_name": "answer", "type": "textarea", "value": {"text": ["x"]}}
    hands.annotate(two["id"], [*ruled("minor", "Text."), wrong])
    hands.annotate(three["id"], ruled("minor"))
    accounting = annotate(made).accounting
    assert (accounting.kept, accounting.waiting) == (0, 3)
    with book(made) as opened:
        reasons = {row["why"] for row in quarantine(opened)}
    assert reasons == {
        "unknown verdict 'splendid'",
        "a result of the unknown control 'notes'",
        "minor without a correction",
    }


def test_a_changed_question_is_noticed(work):
    made, hands = work(pairs=1)
    (task,) = hands.tasks(project_of(made))
    hands.call("PATCH", f"/api/tasks/{task['id']}/", {"data": task["data"] | {"answer": "Another answer."}})
    hands.annotate(task["id"], ruled("fine"))
    assert annotate(made).accounting.waiting == 1
    with book(made) as opened:
        assert quarantine(opened)[0]["why"] == "the task's texts were changed there"


def test_skipped_and_deleted_work_waits_again(work):
    made, hands = work(pairs=2)
    one, two = hands.tasks(project_of(made))
    hands.annotate(one["id"], [], was_cancelled=True)
    annotation = hands.annotate(two["id"], ruled("minor", "A text that is soon gone."))
    assert annotate(made).accounting.kept == 1
    hands.call("DELETE", f"/api/annotations/{annotation}/")
    pull(made)
    assert annotate(made).accounting.waiting == 2
    with book(made) as opened:
        (counts,) = projects(opened)
    assert (counts["skipped"], counts["deleted"], counts["done"]) == (1, 1, 0)


def test_a_deleted_task_is_pushed_again_and_its_ruling_no_more_counts(work):
    made, hands = work(pairs=2)
    one, _ = hands.tasks(project_of(made))
    hands.annotate(one["id"], ruled("minor", "A text that is soon gone."))
    assert annotate(made).accounting.kept == 1
    hands.call("DELETE", f"/api/tasks/{one['id']}/")
    assert annotate(made).accounting.waiting == 2
    assert len(hands.tasks(project_of(made))) == 2


def test_two_people_on_one_task_are_one_correction_and_the_newest_counts(work, label_studio, second_annotator):
    made, hands = work(pairs=1)
    (task,) = hands.tasks(project_of(made))
    hands.annotate(task["id"], ruled("minor", "What the first person wrote."))
    Hands(label_studio.url, second_annotator.token).annotate(
        task["id"], ruled("major", "What the second person wrote.")
    )
    assert annotate(made).accounting.kept == 1
    assert table(made, "candidates")["text"].to_list() == ["What the second person wrote."]
    with book(made) as opened:
        assert len(people(opened)) == 2


def test_ratings_of_two_people_are_compared(work, label_studio, second_annotator):
    made, hands = work(pairs=3)
    other = Hands(label_studio.url, second_annotator.token)
    for number, task in enumerate(hands.tasks(project_of(made))):
        for hand in (hands, other):
            rating = {"from_name": "honesty", "to_name": "answer", "type": "rating", "value": {"rating": number + 2}}
            hand.annotate(task["id"], [*ruled("fine"), rating])
    annotate(made)
    (row,) = table(made, "agreement").to_dicts()
    assert row["one"].startswith("honesty, person-")
    assert (row["pairs"], row["rating_alpha"]) == (3, 1.0)


def test_tasks_that_are_there_twice_are_one_again(work):
    made, hands = work(pairs=3)
    project = project_of(made)
    task = hands.tasks(project)[0]
    again = {"data": task["data"], "meta": task["meta"]}
    hands.call("POST", f"/api/projects/{project}/import", [again, again])
    assert len(hands.tasks(project)) == 5
    (pushed,) = push(made)
    assert (pushed.sent, pushed.removed) == (0, 2)
    assert len(hands.tasks(project)) == 3


def test_listings_end_at_the_last_page_whatever_its_size(work, monkeypatch):
    made, hands = work(pairs=6)
    for size in (2, 3, 4, 6):
        monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", hands._token)
        with server_of(made) as server:
            project = project_of(made)
            found = list(server._pages(project, size, {"include": "id"}))
        assert len({row["id"] for row in found}) == len(found) == 6


def test_projects_hold_no_more_tasks_than_they_may(work):
    made, _ = work(pairs=7, shard_tasks=3, batch_tasks=2)
    with book(made) as opened:
        assert sorted(one["tasks"] for one in projects(opened)) == [1, 3, 3]


def test_hostile_texts_are_data_and_the_diff_is_escaped(work):
    made, hands = work(pairs=[("What is <b>this</b>, please?", HOSTILE)])
    (task,) = hands.tasks(project_of(made))
    assert task["data"]["answer"] == HOSTILE
    assert "<script" not in task["data"]["diff"]
    hands.annotate(task["id"], ruled("fine"))
    annotate(made)
    assert table(made, "candidates")["text"].to_list() == [HOSTILE]


def test_a_project_with_another_screen_is_refused(work):
    made, hands = work(pairs=1)
    screen = '<View><Text name="answer" value="$answer"/><TextArea name="correction" toName="answer"/></View>'
    hands.call("PATCH", f"/api/projects/{project_of(made)}/", {"label_config": screen})
    with pytest.raises(LabelStudioError, match="another labelling configuration than ours"):
        push(made)


def test_a_wrong_token_and_no_token_and_no_server_are_told(work, monkeypatch):
    made, _ = work(pairs=1)
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", "0" * 40)
    with pytest.raises(LabelStudioError, match="401"):
        pull(made)
    monkeypatch.delenv("TEST_LABEL_STUDIO_TOKEN")
    with pytest.raises(ConfigError, match="TEST_LABEL_STUDIO_TOKEN"):
        push(made)
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", "0" * 40)
    settings = made.config.annotate.label_studio.model_copy(update={"url": "http://127.0.0.1:9"})
    down = made.config.annotate.model_copy(update={"label_studio": settings})
    away = made.model_copy(update={"config": made.config.model_copy(update={"annotate": down})})
    with pytest.raises(LabelStudioError, match="no Label Studio answers"):
        push(away)
    run_stage(away, "annotate", lambda _: None, again=True)
    assert RunStore(made.workdir).published("annotate").accounting.waiting == 1


def test_a_personal_access_token_does_as_well(work, label_studio, monkeypatch):
    made, hands = work(pairs=1)
    member = add_user(label_studio.url, label_studio.account.token, "personal@example.com", "personal-password")
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", personal_access_token(label_studio.url, member.token))
    (task,) = hands.tasks(project_of(made))
    hands.annotate(task["id"], ruled("fine"))
    (pulled,) = pull(made)
    assert pulled.new == 1


def test_a_push_warns_of_a_server_on_sqlite(work, label_studio):
    made, hands = work(pairs=1)
    said = []
    push_tasks(made, RunStore(made.workdir), said.append)
    assert said == [f"{label_studio.url} is on SQLite: for one annotator only; see docs/label-studio.md"]
    without_tasks = hands.call("POST", "/api/projects", {"title": f"{made.name} empty"})["id"]
    with server_of(made) as server:
        assert server.database(project_of(made)) == "sqlite"
        assert server.database(without_tasks) is None
        assert server.database(10**6) is None


def test_the_report_counts_people_as_annotators(work):
    made, hands = work(pairs=2)
    for task in hands.tasks(project_of(made)):
        hands.annotate(task["id"], ruled("fine"))
    annotate(made)
    row = table(made, "annotators").filter(pl.col("annotator") == "team").row(0, named=True)
    assert (row["corrections"], row["kept"], row["copies"]) == (2, 2, 2)


def test_a_ruling_on_a_twin_of_a_task_stays(work):
    made, hands = work(pairs=2)
    project = project_of(made)
    first, second = hands.tasks(project)
    hands.annotate(first["id"], ruled("fine"))
    assert annotate(made).accounting.kept == 1
    hands.call("POST", f"/api/projects/{project}/import", [{"data": first["data"], "meta": first["meta"]}])
    hands.annotate(second["id"], ruled("fine"))
    with book(made) as opened:  # as if the first one had been pulled long ago
        opened._connection.execute("UPDATE label_projects SET cursor = '2100-01-01T00:00:00Z'")
    pull(made)
    assert annotate(made).accounting.kept == 1
    pull(made, whole=True)
    assert annotate(made).accounting.kept == 2


def test_a_submission_after_a_skip_counts(work):
    made, hands = work(pairs=1)
    (task,) = hands.tasks(project_of(made))
    hands.annotate(task["id"], ruled("fine"), was_cancelled=True)
    hands.annotate(task["id"], ruled("fine"))
    assert annotate(made).accounting.kept == 1


def test_tasks_of_others_with_any_meta_are_left_alone(work):
    made, hands = work(pairs=1)
    project = project_of(made)
    data = hands.tasks(project)[0]["data"]
    hands.call("POST", f"/api/projects/{project}/import", [{"data": data, "meta": ["x"]}, {"data": data}])
    (pushed,) = push(made)
    pull(made)
    assert (pushed.sent, pushed.removed, len(hands.tasks(project))) == (0, 0, 3)


def test_a_task_whose_annotation_cannot_be_used_is_given_to_somebody_else(work, label_studio, second_annotator):
    made, hands = work(pairs=1)
    project, other = project_of(made), Hands(label_studio.url, second_annotator.token)
    (task,) = hands.tasks(project)
    hands.annotate(task["id"], ruled("splendid"))
    assert annotate(made).accounting.waiting == 1
    assert other.call("GET", f"/api/projects/{project}/next")["id"] == task["id"]
    other.annotate(task["id"], ruled("fine"))
    assert annotate(made).accounting.kept == 1


def test_a_task_that_was_begun_and_removed_is_made_again_under_other_principles(work):
    made, hands = work(pairs=1)
    (task,) = hands.tasks(project_of(made))
    hands.annotate(task["id"], [], was_cancelled=True)
    annotate(made)
    hands.call("DELETE", f"/api/tasks/{task['id']}/")
    team = made.config.annotate.annotators[0].model_copy(update={"principles": ("helpful",)})
    config = made.config.model_copy(
        update={"annotate": made.config.annotate.model_copy(update={"annotators": (team,)})}
    )
    (pushed,) = push(made.model_copy(update={"config": config}))
    assert (pushed.sent, len(hands.tasks(pushed.project_id))) == (1, 1)


def test_an_empty_project_of_the_same_name_is_removed(work):
    made, hands = work(pairs=1)
    project = hands.call("GET", f"/api/projects/{project_of(made)}/")
    again = hands.call("POST", "/api/projects/", {"title": project["title"], "label_config": project["label_config"]})
    (pushed,) = push(made)
    assert pushed.project_id == project["id"]
    assert again["id"] not in [one["id"] for one in hands.call("GET", "/api/projects?page_size=1000")["results"]]


@pytest.mark.parametrize("token", ["part one", "part\nsecret-two", "s\u00e9cret"])
def test_a_token_that_is_none_is_refused_and_not_shown(work, monkeypatch, token):
    made, _ = work(pairs=1)
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", token)
    with pytest.raises(ConfigError, match="TEST_LABEL_STUDIO_TOKEN holds a character that no token has") as raised:
        push(made)
    assert token not in str(raised.value)


def test_work_at_a_server_whose_address_changed_is_found_and_its_people_stay_the_same(work):
    made, hands = work(pairs=2)
    one, two = hands.tasks(project_of(made))
    hands.annotate(one["id"], ruled("fine"))
    annotate(made)
    hands.annotate(two["id"], ruled("fine"))
    settings = made.config.annotate.label_studio
    there = settings.model_copy(update={"url": settings.url.replace("127.0.0.1", "localhost")})
    config = made.config.model_copy(
        update={"annotate": made.config.annotate.model_copy(update={"label_studio": there})}
    )
    moved = made.model_copy(update={"config": config})
    assert annotate(moved).accounting.kept == 2
    with book(made) as opened:
        assert len(projects(opened)) == len(people(opened)) == 1
