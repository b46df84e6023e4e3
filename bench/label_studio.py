"""Label Studio: pushing and pulling tasks on a real local server, over the bare bulk import and the bare listing."""

import time
from collections.abc import Callable
from pathlib import Path

from form.measuring import Ratio, main

from annotators.label_studio.client import LabelStudio
from annotators.label_studio.local import running
from annotators.label_studio.screens import Step, instruction, screen
from annotators.label_studio.tasks import PersonTask, as_json
from annotators.principles import chosen
from curate.identity import content_id
from curate.labelling.projects import planned
from curate.labelling.pull import pull
from curate.labelling.push import Project, push
from curate.ledger.labels import LabelBook, LabelProject

TASKS = 10_000
BATCH = 500
ANSWER = "Take the tram number {} to the old market and walk for ten minutes; on Sundays it runs every half hour. " * 8
VERDICT = {"from_name": "verdict", "to_name": "answer", "type": "choices", "value": {"choices": ["fine"]}}


def measure(workdir: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """Push and pull of some thousand tasks, each beside the same calls without a ledger."""
    count = shrunk(TASKS)
    tasks, others = _tasks("pushed", count), _tasks("pulled", count)
    told = instruction(Step.CORRECT, chosen(["helpful", "harmless", "honest"], Path()))
    with (
        running(workdir / "server") as made,
        LabelStudio(made.url, made.account.token) as server,
        LabelBook(workdir / "pushed.sqlite") as book,
        LabelBook(workdir / "pulled.sqlite") as other,
    ):
        bare_push_s = _seconds(lambda: _bare_import(server, "bare import", told, [as_json(task) for task in tasks]))
        project = Project("ours", "bench", "team", Step.CORRECT, screen(Step.CORRECT), told, BATCH)
        book.plan([planned(task, project.title, "bench", "team") for task in tasks])
        push_s = _seconds(lambda: push(server, book, project, tasks, lambda _: None))
        annotated = [as_json(task) | {"annotations": [{"result": [VERDICT]}]} for task in others]
        number = _bare_import(server, "annotated", told, annotated)
        other.plan([planned(task, "annotated", "bench", "team") for task in others])
        other.note_project(
            LabelProject("annotated", server.url, server.url, number, "bench", "team", Step.CORRECT, None)
        )
        bare_pull_s = _seconds(lambda: sum(1 for _ in server.changed_tasks(number, None)))
        pulled: list[int] = []
        pull_s = _seconds(
            lambda: pulled.extend(one.new for one in pull(server, other, lambda _: None, pseudonymous=True))
        )
    lines = [
        f"{count:,} tasks of {len(ANSWER):,} characters, {BATCH} an import; {sum(pulled):,} annotations pulled",
        f"bare import {bare_push_s:,.1f} s, push {push_s:,.1f} s",
        f"bare listing {bare_pull_s:,.1f} s, pull {pull_s:,.1f} s",
    ]
    return {
        "push / bare import": Ratio(push_s / bare_push_s, 2.0, False, "wall time, with a reconciling listing"),
        "pull / bare listing": Ratio(pull_s / bare_pull_s, 2.0, False, "wall time, with ids and ledger"),
    }, lines


def _bare_import(server: LabelStudio, title: str, told: str, rows: list[dict[str, object]]) -> int:
    number = int(server.create_project(title, screen(Step.CORRECT), told, overlap=1)["id"])
    for start in range(0, len(rows), BATCH):
        server.import_tasks(number, rows[start : start + BATCH])
    return number


def _tasks(kind: str, count: int) -> list[PersonTask]:
    texts = [ANSWER.replace("{}", str(number)) for number in range(count)]
    return [
        PersonTask(content_id(kind, number), content_id("pair", number), f"How do I get to {number}?", text, text)
        for number, text in enumerate(texts)
    ]


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


if __name__ == "__main__":
    main("label_studio", measure)
