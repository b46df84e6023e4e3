"""Push and pull under broken connections and kill -9: no task is there twice, none is missing, no ruling is lost."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from annotators.label_studio.local import running
from curate.ledger.labels import LabelBook
from curate.pipeline import run_stage
from curate.stages.annotate.people import pull_work, push_tasks
from curate.store.run import RunStore
from schemas.errors import LabelStudioError
from tests.commands import Command
from tests.curate.stages.lossy import lossy_proxy
from tests.curate.stages.peopling import Hands, peopled, project_of, push, ruled
from tests.label_studio import free_port, needs_label_studio


@pytest.fixture
def proxied(label_studio, tmp_path, monkeypatch, request):
    """Makes a pipeline whose server is behind a lossy proxy; nothing is pushed yet."""
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", label_studio.account.token)
    with lossy_proxy(label_studio.url) as proxy:

        def make(pairs, **settings):
            proxy.holds = lambda *_: True
            made = peopled(tmp_path, label_studio, f"b{abs(hash(request.node.name)) % 10**8}", pairs, **settings)
            there = made.config.annotate.label_studio.model_copy(update={"url": proxy.url})
            config = made.config.annotate.model_copy(update={"label_studio": there})
            made = made.model_copy(update={"config": made.config.model_copy(update={"annotate": config})})
            run_stage(made, "annotate", lambda _: None, again=False)
            proxy.holds, proxy.dropped = lambda *_: False, 0
            return made, Hands(label_studio.url, label_studio.account.token), proxy

        yield make


def uids(hands, made) -> list[str]:
    return sorted(task["meta"]["uid"] for task in hands.tasks(project_of(made)))


def test_answers_that_are_lost_after_the_server_acted_make_no_task_twice(proxied):
    made, hands, proxy = proxied(12, batch_tasks=4)
    drops = iter([True, False, True, True, False])
    proxy.drops = lambda method, _: method == "POST" and next(drops, False)
    push(made)
    assert proxy.dropped == 3
    found = uids(hands, made)
    assert len(found) == len(set(found)) == 12
    assert len(hands.call("GET", f"/api/projects?title={made.name}")["results"]) == 1


def test_a_call_that_never_arrived_is_sent_again(proxied):
    made, hands, proxy = proxied(6)
    left = iter(range(2))
    proxy.holds = lambda method, path: path.endswith("/import") and next(left, None) is not None
    push(made)
    assert proxy.dropped == 2
    assert len(set(uids(hands, made))) == 6


def test_a_server_that_dies_in_the_middle_is_told_and_the_next_push_ends_it(proxied):
    made, hands, proxy = proxied(9, batch_tasks=3)
    alive = iter(range(6))
    proxy.holds = lambda *_: next(alive, None) is None
    with pytest.raises(LabelStudioError):
        push(made)
    proxy.holds = lambda *_: False
    push(made)
    found = uids(hands, made)
    assert len(found) == len(set(found)) == 9


def test_a_pull_that_breaks_brings_all_the_next_time_and_nothing_twice(proxied):
    made, hands, proxy = proxied(6)
    push(made)
    for task in hands.tasks(project_of(made)):
        hands.annotate(task["id"], ruled("fine"))
    looks = iter(range(2))
    proxy.drops = lambda *_: next(looks, None) is None
    with pytest.raises(LabelStudioError):
        pull_work(made, lambda _: None)
    proxy.drops = lambda *_: False
    (pulled,) = pull_work(made, lambda _: None)
    assert pulled.new == 6
    (again,) = pull_work(made, lambda _: None)
    assert again.new == 0
    run_stage(made, "annotate", lambda _: None, again=False)
    assert RunStore(made.workdir).published("annotate").accounting.kept == 6


def test_kill_9_of_push_and_pull_at_any_moment_leaves_each_task_and_ruling_once(label_studio, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", label_studio.account.token)
    made = peopled(tmp_path, label_studio, "p", 40, batch_tasks=5)  # the name that the file gives it
    environment = {"TEST_LABEL_STUDIO_TOKEN": label_studio.account.token}
    draw = random.Random(3)

    def killed(*words: str) -> None:
        running = Command(
            *words, "-c", str(made.folder / "pipelines.toml"), folder=made.folder, environment=environment
        )
        time.sleep(draw.uniform(0.3, 2.5))
        running.process.kill()
        running.process.join()

    for _ in range(5):
        killed("run", "--stage", "annotate")
    run_stage(made, "annotate", lambda _: None, again=False)
    for _ in range(3):
        killed("label", "push")
    push(made)
    hands = Hands(label_studio.url, label_studio.account.token)
    found = uids(hands, made)
    assert len(found) == len(set(found)) == 40
    for task in hands.tasks(project_of(made)):
        hands.annotate(task["id"], ruled("fine"))
    for _ in range(5):
        killed("label", "pull")
    pull_work(made, lambda _: None)
    with LabelBook(made.workdir / "ledger.sqlite") as book:
        rows = book._all("SELECT COUNT(*), COUNT(DISTINCT annotation_id), MAX(version) FROM label_annotations", ())
    assert tuple(rows[0]) == (40, 40, 1)
    run_stage(made, "annotate", lambda _: None, again=False)
    assert RunStore(made.workdir).published("annotate").accounting.kept == 40


def test_a_server_killed_during_imports_holds_each_task_once_after_the_next_push(tmp_path, monkeypatch):
    needs_label_studio()
    home, port = tmp_path / "home", free_port()
    with running(home, port) as server:
        made = peopled(tmp_path, server, f"k{tmp_path.name[-8:]}", 120, batch_tasks=10)
        run_stage(made, "annotate", lambda _: None, again=False)  # without a token nothing is pushed
        monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", server.account.token)
        killer = threading.Timer(random.Random(6).uniform(0.3, 0.8), server.process.kill)
        killer.start()
        with pytest.raises(LabelStudioError):
            push(made)
    with running(home, port) as server:
        push(made)
        found = uids(Hands(server.url, server.account.token), made)
    assert len(found) == len(set(found)) == 120


def test_a_second_push_waits_for_the_first_and_sends_nothing(label_studio, tmp_path, monkeypatch):
    made = peopled(tmp_path, label_studio, f"s{tmp_path.name[-8:]}", 6, batch_tasks=2)
    run_stage(made, "annotate", lambda _: None, again=False)  # without a token nothing is pushed
    monkeypatch.setenv("TEST_LABEL_STUDIO_TOKEN", label_studio.account.token)
    with ThreadPoolExecutor(1) as pool:
        second = []

        def begin_a_second(_: str) -> None:
            if not second:
                second.append(pool.submit(push, made))
                wait(second, timeout=3.0)  # long enough for a push that does not wait

        (first,) = push_tasks(made, RunStore(made.workdir), begin_a_second)
        (later,) = second[0].result(60)
    assert (first.sent, first.removed, later.sent, later.removed) == (6, 0, 0, 0)
