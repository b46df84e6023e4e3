"""A pipeline with people behind a real Label Studio, and hands that work there as people's browsers do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from annotators.label_studio.local import Server
from curate.config.model import Pipeline
from curate.labelling.push import Pushed
from curate.labelling.reports import projects
from curate.ledger.labels import LabelBook
from curate.pipeline import run_stage
from curate.stages.annotate.people import push_tasks
from curate.store.manifest import Manifest
from curate.store.run import RunStore
from tests.curate.stages.annotating import pipeline


class Hands:
    """One user of the server, by its token."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call; its JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {self._token}", "Content-Type": "application/json"}
        with urlopen(Request(self._url + path, data=data, headers=headers, method=method), timeout=60) as response:
            content = response.read()
        return json.loads(content) if content else None

    def tasks(self, project_id: int) -> list[dict[str, Any]]:
        """Every task of a project, with its annotations."""
        found = self.call("GET", f"/api/tasks?project={project_id}&page_size=10000&fields=all")
        return found["tasks"]

    def annotate(self, task_id: int, result: list[dict[str, Any]], **more: Any) -> int:
        """Submit an annotation; its id."""
        body = {"result": result, "lead_time": 12.5, **more}
        return int(self.call("POST", f"/api/tasks/{task_id}/annotations/", body)["id"])

    def change(self, annotation_id: int, result: list[dict[str, Any]]) -> None:
        """Change an annotation after it was submitted."""
        self.call("PATCH", f"/api/annotations/{annotation_id}/", {"result": result})


def ruled(verdict: str, text: str | None = None) -> list[dict[str, Any]]:
    """The result of a person who chose a verdict and wrote a text."""
    return [_choice("verdict", verdict), *([] if text is None else [_area("correction", text)])]


def inspected(verdict: str, note: str | None = None) -> list[dict[str, Any]]:
    """The result of an inspector."""
    return [_choice("inspection", verdict), *([] if note is None else [_area("note", note)])]


def chose(decision: str, own: str | None = None) -> list[dict[str, Any]]:
    """The result of an adjudicator."""
    return [_choice("decision", decision), *([] if own is None else [_area("own", own)])]


def _choice(name: str, value: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "answer", "type": "choices", "value": {"choices": [value]}}


def _area(name: str, text: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "answer", "type": "textarea", "value": {"text": [text]}}


def peopled(
    folder: Path,
    server: Server,
    name: str,
    pairs: Any = 6,
    annotators: list[dict[str, Any]] | None = None,
    overlap: dict[str, Any] | None = None,
    **settings: Any,
) -> Pipeline:
    """A pipeline of this name (projects are named by it) whose pairs go to people on the server.

    annotators: one team that gets all of them, if none are given. settings: of `label_studio`.
    """
    tables = {"label_studio": {"url": server.url, "token_env": "TEST_LABEL_STUDIO_TOKEN", **settings}}
    if overlap is not None:
        tables["overlap"] = overlap
    made = pipeline(folder, annotators or [{"name": "team", "kind": "people"}], pairs, tables=tables)
    return made.model_copy(update={"name": name})


def annotate(made: Pipeline) -> Manifest:
    """Run the stage, which pulls before and pushes after; what it published."""
    run_stage(made, "annotate", lambda _: None, again=False)
    return RunStore(made.workdir).published("annotate")


def push(made: Pipeline, say: Callable[[str], None] = lambda _: None) -> list[Pushed]:
    """Push what waits."""
    return push_tasks(made, RunStore(made.workdir), say)


def book(made: Pipeline) -> LabelBook:
    """The ledger of people's work."""
    return LabelBook(made.workdir / "ledger.sqlite")


def project_of(made: Pipeline) -> int:
    """The server's id of the only project."""
    with book(made) as opened:
        (one,) = projects(opened)
    return int(one["remote_id"])
