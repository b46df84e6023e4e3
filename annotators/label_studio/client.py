"""Calls to a Label Studio server: each sent once, never repeated; what went wrong is one of our errors.

The SDK does the tokens (personal ones are refreshed, legacy ones sent as they are); bodies stay plain JSON, since its
typed models refuse annotations that the server accepts.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from schemas.errors import LabelStudioError, MissingExtraError

TIMEOUT_S = 120.0
OLDEST = (1, 23)
"""The version that all this is tested with; older ones are refused, as their calls may do something else."""
PAGE_TASKS = 500
"""Tasks of one page of a listing."""
ID_PAGE_TASKS = 5_000
WITH_ANNOTATIONS = (
    *("id", "meta", "data", "annotations", "updated_at"),
    *("result", "completed_by", "was_cancelled", "lead_time", "updated_by"),
)
"""Fields of a task and, since the server takes one list for both, of its annotations."""

PYTHON_ONLY = r"\b"
"""An edge of a word in Python's regular expressions, which SQLite is given; a backspace in PostgreSQL's."""
POSTGRESQL_ONLY = "|".join(rf"\x003{digit}" for digit in range(10))
"""A digit in PostgreSQL, which reads all hexadecimal digits after x as one number; in Python a NUL and two digits."""


def _detail(words: str) -> str:
    """What the server says, without the JSON around it."""
    with contextlib.suppress(ValueError):
        found = json.loads(words)
        if isinstance(found, dict):
            words = str(found.get("validation_errors") or found.get("detail") or words)
    return " ".join(words.split())[:200]


def uid_of(task: dict[str, Any]) -> str:
    """The name that we gave a task; empty where somebody else made it, whose `meta` may be anything."""
    meta = task.get("meta")
    return str(meta.get("uid", "")) if isinstance(meta, dict) else ""


class LabelStudioBusyError(LabelStudioError):
    """A call broke or timed out: what it asked for may have been done."""


class LabelStudioGoneError(LabelStudioError):
    """What was asked for is not there."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One task on the server. done, skipped: its annotations. people: how many shall do it."""

    task_id: int
    uid: str
    done: int
    skipped: int
    people: int

    @property
    def is_untouched(self) -> bool:
        """Whether nobody submitted or skipped it."""
        return not self.done and not self.skipped


class LabelStudio:
    """One server, one token. Raises MissingExtraError without the SDK."""

    def __init__(self, url: str, token: str, timeout_s: float = TIMEOUT_S) -> None:
        try:
            from label_studio_sdk import LabelStudio as Client
            from label_studio_sdk.core.api_error import ApiError
        except ImportError as error:
            raise MissingExtraError("people in Label Studio", "label-studio-sdk", "label-studio") from error
        self.url = url.rstrip("/")
        self._api_error = ApiError
        try:
            self._client = Client(base_url=self.url, api_key=token, max_retries=0, timeout=timeout_s)
        except ApiError as error:
            raise self._refused(error.status_code or 401, "", str(error.body)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client._client_wrapper.httpx_client.httpx_client.close()

    def check(self) -> dict[str, Any]:
        """The token's user. Raises LabelStudioError: the server is too old, or none, or does not know the token."""
        found = self._json("GET", "api/version")
        release = str(found.get("release", "")) if isinstance(found, dict) else ""
        numbers = tuple(int(part) for part in release.split(".")[:2] if part.isdigit())
        if len(numbers) < 2:
            raise LabelStudioError(f"{self.url} tells no version", do="is this address a Label Studio?")
        if numbers < OLDEST:
            raise LabelStudioError(
                f"{self.url} is Label Studio {release}; push and pull rely on calls of "
                f"{'.'.join(map(str, OLDEST))} or newer",
                do="upgrade it, or use make label-studio",
            )
        user: dict[str, Any] = self._json("GET", "api/current-user/whoami")
        return user

    def projects(self, title: str) -> list[dict[str, Any]]:
        """All projects of this title."""
        found = self._json("GET", "api/projects", params={"title": title, "page_size": 100})
        rows = found.get("results", []) if isinstance(found, dict) else found
        return [row for row in rows if row.get("title") == title]

    def create_project(self, title: str, screen: str, instruction: str, overlap: int) -> dict[str, Any]:
        """Make a project; overlap: annotations that each task wants."""
        body = {
            "title": title,
            "label_config": screen,
            "expert_instruction": instruction,
            "show_instruction": True,
            "show_collab_predictions": True,
            "show_skip_button": True,
            "enable_empty_annotation": False,
            "maximum_annotations": overlap,
            "sampling": "Sequential sampling",
        }
        found: dict[str, Any] = self._json("POST", "api/projects", body=body)
        return found

    def project(self, project_id: int) -> dict[str, Any]:
        """One project, with its label configuration and counts."""
        found: dict[str, Any] = self._json("GET", f"api/projects/{int(project_id)}")
        return found

    def has_project(self, project_id: int, title: str) -> bool:
        """Whether a project is there, and is not another one that has its number by now (a server made anew)."""
        try:
            return bool(self.project(project_id).get("title") == title)
        except LabelStudioGoneError:
            return False

    def delete_project(self, project_id: int) -> None:
        """Remove a project with all that is in it."""
        self._json("DELETE", f"api/projects/{int(project_id)}")

    def import_tasks(self, project_id: int, tasks: Sequence[dict[str, Any]]) -> None:
        """Add tasks. After an error they may be there: list before anything is sent again."""
        self._json("POST", f"api/projects/{int(project_id)}/import", body=list(tasks))

    def delete_task(self, task_id: int) -> None:
        """Remove a task with its annotations."""
        self._json("DELETE", f"api/tasks/{int(task_id)}")

    def task_marks(self, project_id: int) -> list[Mark]:
        """What push must know of every task of a project."""
        fields = {"include": "id,meta,total_annotations,cancelled_annotations,overlap"}
        return [
            Mark(
                int(row["id"]),
                uid_of(row),
                int(row.get("total_annotations") or 0),
                int(row.get("cancelled_annotations") or 0),
                int(row.get("overlap") or 1),
            )
            for row in self._pages(project_id, ID_PAGE_TASKS, fields)
        ]

    def is_begun(self, project_id: int, task_id: int) -> bool:
        """Whether somebody did anything with a task by now: an annotation, a skip, a draft that is not submitted."""
        found = {"filter": "filter:tasks:id", "operator": "equal", "type": "Number", "value": int(task_id)}
        fields = {
            "include": "id,total_annotations,cancelled_annotations,draft_exists",
            "fields": "all",
            "query": json.dumps({"filters": {"conjunction": "and", "items": [found]}}),
        }
        told = ("total_annotations", "cancelled_annotations", "draft_exists")
        return any(row.get(one) for row in self._pages(project_id, 1, fields) for one in told)

    def share_task(self, task_id: int, people: int, *, is_done: bool) -> None:
        """Say how many people shall do a task. is_done: whether so many have done it."""
        self._json("PATCH", f"api/tasks/{int(task_id)}/", body={"overlap": people, "is_labeled": is_done})

    def database(self, project_id: int) -> Literal["sqlite", "postgresql"] | None:
        """What the server keeps its data in, or None where that is not certain, such as in a project without tasks.

        No call tells it. A filter by a regular expression is left to the database, though, and two of them find all
        ids of tasks in the one and none in the other, whatever the database's locale.
        """
        try:
            in_python, in_postgresql = (self._count(project_id, one) for one in (PYTHON_ONLY, POSTGRESQL_ONLY))
        except LabelStudioError:
            return None  # it says whether to warn: no reason to fail
        if in_python and not in_postgresql:
            return "sqlite"
        return "postgresql" if in_postgresql and not in_python else None

    def _count(self, project_id: int, pattern: str) -> int:
        """How many tasks of a project have an id that the database finds by this regular expression."""
        found = {"filter": "filter:tasks:id", "operator": "regex", "type": "Unknown", "value": pattern}
        query = json.dumps({"filters": {"conjunction": "and", "items": [found]}})
        params = {"project": int(project_id), "page": 1, "page_size": 1, "include": "id", "query": query}
        return int(self._json("GET", "api/tasks", params=params)["total"])

    def changed_tasks(self, project_id: int, since: str | None) -> Iterator[dict[str, Any]]:
        """Tasks whose annotations changed after a time (ISO 8601, UTC), or all that were touched, with annotations."""
        query: dict[str, Any] = {"filters": {"conjunction": "and", "items": []}}
        if since is not None:
            query["filters"]["items"].append(
                {"filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime", "value": since}
            )
        fields = {"fields": "all", "query": json.dumps(query), "include": ",".join(WITH_ANNOTATIONS)}
        yield from self._pages(project_id, PAGE_TASKS, fields)

    def _pages(self, project_id: int, size: int, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
        page = 1
        while True:
            params = {"project": int(project_id), "page": page, "page_size": size, "resolve_uri": False, **fields}
            found = self._json("GET", "api/tasks", params=params)
            rows = found["tasks"]
            yield from rows
            if not rows or page * size >= int(found["total"]):
                return  # the page after the last one is an error, not an empty one
            page += 1

    def _json(self, method: str, path: str, body: Any = None, params: dict[str, Any] | None = None) -> Any:
        """One call, once. Raises LabelStudioError, LabelStudioBusyError where it may have acted."""
        import httpx

        try:
            response = self._client._client_wrapper.httpx_client.request(path, method=method, json=body, params=params)
        except httpx.ConnectError as error:
            raise LabelStudioError(
                f"no Label Studio answers at {self.url}: {error}",
                do="start it (make label-studio), or correct annotate.label_studio.url",
            ) from error
        except (httpx.HTTPError, OSError) as error:
            raise LabelStudioBusyError(
                f"{self.url}: {method} {path} broke: {type(error).__name__}: {error}", do="run the same command again"
            ) from error
        except self._api_error as error:
            raise self._refused(error.status_code or 0, path, str(error.body)) from error
        if response.status_code >= 300:
            raise self._refused(response.status_code, path, response.text)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise LabelStudioError(
                f"{self.url} answers {path} with something else than JSON", do="is this address a Label Studio?"
            ) from error

    def _refused(self, status: int, path: str, words: str) -> LabelStudioError:
        told = f"{self.url} answers {path} with {status}: {_detail(words)}"
        if status == 401:
            return LabelStudioError(
                told, do="set the variable of token_env to a token of this server, one that is switched on there"
            )
        if status == 403:
            return LabelStudioError(told, do="this user may not do that: use the token of an administrator")
        if status == 404:
            return LabelStudioGoneError(told, do="was it deleted there? or is this address no Label Studio?")
        if status >= 500 or status == 429:
            return LabelStudioBusyError(told, do="look at the server's log, then run the same command again")
        return LabelStudioError(told, do="docs/label-studio.md tells which versions work")
