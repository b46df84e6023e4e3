"""A team's work at once on a Label Studio on PostgreSQL: no task is done twice, no ruling is lost, nothing fails."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.error import HTTPError

import pytest

from annotators.label_studio.accounts import add_user
from annotators.label_studio.home import log_file
from curate.labelling.reports import quarantine
from curate.stages.annotate.people import pull_work, server_of
from curate.store.run import RunStore
from tests.curate.stages.lossy import lossy_proxy
from tests.curate.stages.peopling import Hands, annotate, book, peopled, project_of, push, ruled
from tests.postgresql import psql

ANNOTATORS, EACH, LONGEST_S = 20, 25, 300.0
HOSTILE = "<script>document.title='hacked'</script><img src=http://127.0.0.1:9/x.png> <iframe src='//x'> &amp; {{x}}"


@pytest.fixture
def work(label_studio_on_postgresql, tmp_path, monkeypatch, request):
    """Makes a pipeline, annotated once so that its pairs wait, and gives it with the hands of the administrator."""
    server = label_studio_on_postgresql
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", server.account.token)

    def make(pairs=6, **settings):
        made = peopled(tmp_path, server, f"q{abs(hash(request.node.name)) % 10**8}", pairs, **settings)
        annotate(made)
        return made, Hands(server.url, server.account.token)

    return make


def with_pairs(made, table):
    store = RunStore(made.workdir)
    return store.table("annotate", table).collect().join(store.table("dedup", "pairs").collect(), on="pair_id")


def test_postgresql_is_known_and_not_warned_of(work, label_studio_on_postgresql):
    made, hands = work(pairs=1)
    log = log_file(label_studio_on_postgresql.home)
    before, said = log.stat().st_size, []
    push(made, said.append)
    assert said == []
    without_tasks = hands.call("POST", "/api/projects", {"title": f"{made.name} empty"})["id"]
    with server_of(made) as server:
        assert server.database(project_of(made)) == "postgresql"
        assert server.database(without_tasks) is None
    assert "Error" not in log.read_bytes()[before:].decode()


def test_a_second_push_sends_nothing(work):
    made, hands = work()
    (again,) = push(made)
    assert (again.tasks, again.sent, again.removed) == (6, 0, 0)
    assert len(hands.tasks(project_of(made))) == 6


def test_answers_that_are_lost_after_the_server_acted_make_no_task_twice(
    label_studio_on_postgresql, tmp_path, monkeypatch
):
    with lossy_proxy(label_studio_on_postgresql.url) as proxy:
        there = replace(label_studio_on_postgresql, url=proxy.url)
        made = peopled(tmp_path, there, f"l{tmp_path.name[-8:]}", 12, batch_tasks=4)
        annotate(made)  # without a token nothing is pushed
        monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", there.account.token)
        drops = iter([True, False, True, True, False])
        proxy.drops = lambda method, _: method == "POST" and next(drops, False)
        push(made)
    assert proxy.dropped == 3
    tasks = Hands(label_studio_on_postgresql.url, there.account.token).tasks(project_of(made))
    found = [task["meta"]["uid"] for task in tasks]
    assert len(found) == len(set(found)) == 12


def test_an_edit_after_a_pull_is_a_new_version_and_counts(work):
    made, hands = work(1)
    (task,) = hands.tasks(project_of(made))
    annotation = hands.annotate(task["id"], ruled("minor", "First text of a person."))
    annotate(made)
    hands.change(annotation, ruled("major", "Second text of a person."))
    annotate(made)
    assert with_pairs(made, "candidates")["text"].to_list() == ["Second text of a person."]
    with book(made) as opened:
        rows = opened._all("SELECT version, text FROM label_annotations ORDER BY version", ())
    assert [tuple(row) for row in rows] == [(1, "First text of a person."), (2, "Second text of a person.")]
    (again,) = pull_work(made, lambda _: None)
    assert again.new == 0


def test_skipped_and_deleted_work_waits_again(work):
    made, hands = work(2)
    one, two = hands.tasks(project_of(made))
    hands.annotate(one["id"], [], was_cancelled=True)
    annotation = hands.annotate(two["id"], ruled("minor", "A text that is soon gone."))
    assert annotate(made).accounting.kept == 1
    hands.call("DELETE", f"/api/annotations/{annotation}/")
    assert annotate(made).accounting.waiting == 2


def test_hostile_texts_are_data_and_nul_comes_back_as_it_was(work):
    made, hands = work(
        [
            ("What is <b>this</b>, please?", f"A NUL \0 and {HOSTILE}"),
            ("Which sign ends a text in C?", "It is \0, I thnk."),
            ("How tall is the Arden tower?", "It is 100 feet tall."),
        ]
    )
    tasks = {task["data"]["question"]: task for task in hands.tasks(project_of(made))}
    assert len(tasks) == 3
    hands.annotate(tasks["What is <b>this</b>, please?"]["id"], ruled("fine"))
    sign = tasks["Which sign ends a text in C?"]
    assert sign["data"]["answer"] == "It is \u2400, I thnk."
    hands.annotate(sign["id"], ruled("minor", sign["data"]["answer"].replace("thnk", "think")))
    hands.annotate(tasks["How tall is the Arden tower?"]["id"], ruled("minor", HOSTILE))
    assert annotate(made).accounting.waiting == 0
    candidates = with_pairs(made, "candidates")
    assert dict(candidates.select("question", "text").iter_rows()) == {
        "What is <b>this</b>, please?": f"A NUL \0 and {HOSTILE}",
        "Which sign ends a text in C?": "It is \0, I think.",
        "How tall is the Arden tower?": HOSTILE,
    }


class Team:
    """Annotators who all work at once, each as a browser does: ask for the next task, submit, ask again."""

    def __init__(self, server, project):
        self._server, self._project = server, project
        self._together = threading.Barrier(ANNOTATORS)
        self.refusals = Counter()

    def join(self, number):
        return add_user(
            self._server.url, self._server.account.token, f"annotator-{number}@example.com", "annotator-password"
        )

    def work(self, account):
        hands, done = Hands(self._server.url, account.token), []
        self._together.wait(LONGEST_S)
        deadline = time.monotonic() + LONGEST_S  # where tasks are done twice, they do not suffice for all
        while len(done) < EACH and time.monotonic() < deadline:
            try:
                task = hands.call("GET", f"/api/projects/{self._project}/next")
                hands.annotate(task["id"], ruled("minor", task["data"]["answer"] + " A person says so."))
            except HTTPError as error:
                self.refusals[error.code] += 1
                time.sleep(0.1)
                continue
            done.append(task["id"])
        return done


def test_twenty_annotators_at_once_do_each_task_once_and_every_ruling_is_published(
    work, label_studio_on_postgresql, postgresql
):
    tasks = ANNOTATORS * EACH
    made, _ = work(tasks)
    project = project_of(made)
    team = Team(label_studio_on_postgresql, project)
    with ThreadPoolExecutor(ANNOTATORS) as pool:
        accounts = list(pool.map(team.join, range(ANNOTATORS)))
        begin = time.monotonic()
        done = [task for each in pool.map(team.work, accounts) for task in each]
        print(f"{tasks} tasks taken and submitted in {time.monotonic() - begin:.1f} s, refused: {dict(team.refusals)}")
    assert len(done) == len(set(done)) == tasks
    assert team.refusals.keys() <= {404}, "404: no task was free for a moment"
    there = psql(
        postgresql, f"SELECT COUNT(*), COUNT(DISTINCT task_id) FROM task_completion WHERE project_id = {project}"
    )
    assert there == f"{tasks}|{tasks}"
    published = annotate(made)
    assert (published.accounting.kept, published.accounting.failed, published.accounting.waiting) == (tasks, 0, 0)
    rows = with_pairs(made, "corrections")
    assert rows.height == rows["pair_id"].n_unique() == tasks
    assert (rows["text"] == rows["answer"] + " A person says so.").all()
    assert sorted(Counter(one.split(":")[-1] for one in rows["task_id"]).values()) == [EACH] * ANNOTATORS
    with book(made) as opened:
        assert opened._all("SELECT COUNT(*) FROM label_annotations", ())[0][0] == tasks
        assert not quarantine(opened)
