"""The ledger of people's work: projects, tasks and every version of every annotation; the server holds work in flight.

An annotation that changed after it was pulled gets a new version; none is ever overwritten.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from curate.ledger.journal import now
from curate.ledger.tables import connect, migrate

DONE, SKIPPED, DELETED, QUARANTINED = "done", "skipped", "deleted", "quarantined"


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task as it is, or is to be, on the server. remote_id: None until it was seen there."""

    uid: str
    title: str
    pair_id: str
    annotator: str
    answer: str
    draft: str
    data_hash: str
    remote_id: int | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """One version of a person's annotation. person, editor: pseudonyms of who wrote and who last changed it."""

    annotation_id: int
    uid: str | None
    remote_task_id: int | None
    state: str
    why: str | None = None
    person: str | None = None
    editor: str | None = None
    verdict: str | None = None
    text: str | None = None
    reasons: tuple[str, ...] = ()
    ratings: dict[str, int] = field(default_factory=dict)
    lead_time_s: float | None = None
    updated_at: str | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What people said of one pair, as it counts: the newest annotation. text: None where the pair was rejected."""

    annotation_id: int
    title: str
    person: str | None
    verdict: str
    text: str | None
    reasons: tuple[str, ...]
    seconds: float | None


class LabelBook:
    """People's work in one ledger file."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        migrate(self._connection, path)
        self._connection.row_factory = sqlite3.Row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def project(self, title: str) -> tuple[int, str | None] | None:
        """The server's id of a project and the time up to which it was pulled; None where there is none."""
        row = self._one("SELECT remote_id, cursor FROM label_projects WHERE title = ?", (title,))
        return None if row is None else (row["remote_id"], row["cursor"])

    def projects(self, url: str) -> list[tuple[str, int, str | None]]:
        """Title, the server's id and the cursor of every project on a server."""
        rows = self._all("SELECT title, remote_id, cursor FROM label_projects WHERE url = ? ORDER BY title", (url,))
        return [(row["title"], row["remote_id"], row["cursor"]) for row in rows]

    def note_project(self, title: str, url: str, annotator: str, remote_id: int) -> None:
        """A project is on the server."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO label_projects (title, url, annotator, remote_id, made_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (title) DO UPDATE SET url = excluded.url, remote_id = excluded.remote_id",
                (title, url, annotator, remote_id, now()),
            )

    def plan(self, tasks: Sequence[PlannedTask]) -> None:
        """Write tasks down before any is sent; those that are known stay as they are."""
        at = now()
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO label_tasks "
                "(uid, title, pair_id, annotator, answer, draft, data_hash, planned_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(t.uid, t.title, t.pair_id, t.annotator, t.answer, t.draft, t.data_hash, at) for t in tasks],
            )

    def seen(self, title: str, remote_ids: dict[str, int]) -> int:
        """Note which tasks of a project are on the server, and which are not any more; how many of these are new."""
        at = now()
        with self._transaction():
            self._connection.executemany(
                "UPDATE label_tasks SET remote_id = ?, deleted_at = NULL WHERE uid = ? AND title = ?",
                [(remote_id, uid, title) for uid, remote_id in remote_ids.items()],
            )
            known = self._all(
                "SELECT uid FROM label_tasks WHERE title = ? AND remote_id IS NOT NULL AND deleted_at IS NULL", (title,)
            )
            gone = [row["uid"] for row in known if row["uid"] not in remote_ids]
            self._connection.executemany(
                "UPDATE label_tasks SET deleted_at = ? WHERE uid = ?", [(at, uid) for uid in gone]
            )
        return len(gone)

    def titles(self) -> set[str]:
        """Names of all projects that have tasks."""
        return {row["title"] for row in self._all("SELECT DISTINCT title FROM label_tasks", ())}

    def tasks(self, title: str) -> dict[str, PlannedTask]:
        """All tasks of a project by uid."""
        rows = self._all("SELECT * FROM label_tasks WHERE title = ? ORDER BY uid", (title,))
        return {row["uid"]: PlannedTask(*(row[name] for name in PlannedTask.__slots__)) for row in rows}

    def keep(self, title: str, annotations: Iterable[Annotation], cursor: str | None) -> int:
        """Write what is new or changed of some annotations, and the cursor, in one transaction; how many were new."""
        at, new = now(), 0
        with self._transaction():
            for one in annotations:
                last = self._one(
                    "SELECT version, state, raw FROM label_annotations WHERE title = ? AND annotation_id = ? "
                    "ORDER BY version DESC LIMIT 1",
                    (title, one.annotation_id),
                )
                if last is not None and last["state"] == one.state and last["raw"] == one.raw:
                    continue
                new += 1
                self._connection.execute(
                    "INSERT INTO label_annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(title, one.annotation_id, 1 if last is None else last["version"] + 1, one.uid),
                        *(one.remote_task_id, one.state, one.why, one.person, one.editor, one.verdict, one.text),
                        *(json.dumps(one.reasons), json.dumps(one.ratings, sort_keys=True), one.lead_time_s),
                        *(one.updated_at, one.raw, at),
                    ),
                )
            if cursor is not None:
                self._connection.execute("UPDATE label_projects SET cursor = ? WHERE title = ?", (cursor, title))
        return new

    def living(self, title: str) -> dict[int, tuple[int | None, str | None]]:
        """Annotations of a project that were not deleted: id, and the server's id and uid of their task."""
        rows = self._all("SELECT * FROM label_current WHERE title = ? AND state <> ?", (title, DELETED))
        return {row["annotation_id"]: (row["remote_task_id"], row["uid"]) for row in rows}

    def rulings(self) -> dict[tuple[str, str], Ruling]:
        """What people said, by pair and annotator of the configuration: the newest of all annotations that are done."""
        rows = self._all(
            "SELECT t.pair_id, t.annotator, c.* FROM label_current AS c JOIN label_tasks AS t ON t.uid = c.uid "
            "WHERE c.state = ? ORDER BY c.updated_at, c.annotation_id",
            (DONE,),
        )
        return {
            (row["pair_id"], row["annotator"]): Ruling(
                row["annotation_id"],
                row["title"],
                row["person"],
                row["verdict"],
                row["text"],
                tuple(json.loads(row["reasons"])),
                row["lead_time_s"],
            )
            for row in rows
        }

    def ratings(self) -> dict[str, list[tuple[str, str, int]]]:
        """Of each axis that people rated: the task, the person and the rating, the newest of each person."""
        found: dict[str, dict[tuple[str, str], int]] = {}
        rows = self._all(
            "SELECT uid, person, ratings FROM label_current WHERE state = ? ORDER BY updated_at, annotation_id", (DONE,)
        )
        for row in rows:
            for axis, rating in json.loads(row["ratings"]).items():
                found.setdefault(axis, {})[row["uid"], row["person"]] = rating
        return {
            axis: [(*who, rating) for who, rating in sorted(rated.items())] for axis, rated in sorted(found.items())
        }

    def counts(self) -> list[dict[str, Any]]:
        """Of each project: tasks, those on the server, done, skipped, quarantined and deleted annotations, people."""
        rows = self._all(
            "SELECT p.title, p.annotator, p.url, p.remote_id, p.cursor, "
            "(SELECT COUNT(*) FROM label_tasks AS t WHERE t.title = p.title) AS tasks, "
            "(SELECT COUNT(*) FROM label_tasks AS t WHERE t.title = p.title AND t.remote_id IS NOT NULL "
            "AND t.deleted_at IS NULL) AS pushed, "
            "(SELECT COUNT(DISTINCT uid) FROM label_current AS c WHERE c.title = p.title AND c.state = 'done') "
            "AS done, "
            "(SELECT COUNT(*) FROM label_current AS c WHERE c.title = p.title AND c.state = 'skipped') AS skipped, "
            "(SELECT COUNT(*) FROM label_current AS c WHERE c.title = p.title AND c.state = 'quarantined') "
            "AS quarantined, "
            "(SELECT COUNT(*) FROM label_current AS c WHERE c.title = p.title AND c.state = 'deleted') AS deleted, "
            "(SELECT COUNT(DISTINCT person) FROM label_current AS c WHERE c.title = p.title) AS people "
            "FROM label_projects AS p ORDER BY p.title",
            (),
        )
        return [dict(row) for row in rows]

    def quarantine(self) -> list[dict[str, Any]]:
        """Annotations that could not be used, each with the reason."""
        rows = self._all(
            "SELECT title, annotation_id, version, remote_task_id, uid, person, why, updated_at FROM label_current "
            "WHERE state = 'quarantined' ORDER BY title, annotation_id",
            (),
        )
        return [dict(row) for row in rows]

    def people(self) -> list[dict[str, Any]]:
        """Of each person: rulings that are done, by verdict, and the mean time that one took, in seconds."""
        rows = self._all(
            "SELECT person, COUNT(*) AS done, SUM(verdict = 'fine') AS fine, SUM(verdict = 'minor') AS minor, "
            "SUM(verdict = 'major') AS major, SUM(verdict = 'reject') AS reject, AVG(lead_time_s) AS seconds, "
            "SUM(editor IS NOT NULL AND editor <> person) AS edited_by_others FROM label_current "
            "WHERE state = 'done' GROUP BY person ORDER BY person",
            (),
        )
        return [dict(row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Committed at the end of the block, rolled back where it raises."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield

    def _one(self, query: str, values: tuple[Any, ...]) -> Any:
        return self._connection.execute(query, values).fetchone()

    def _all(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        return self._connection.execute(query, values).fetchall()


def content_of_rulings(path: Path) -> list[list[Any]]:
    """What the rulings of a ledger are, for a stage's key; empty where there is no ledger."""
    if not path.is_file():
        return []
    with closing(connect(path)) as connection:
        migrate(connection, path)
        rows = connection.execute(
            "SELECT c.uid, c.annotation_id, c.version FROM label_current AS c WHERE c.state = ? "
            "ORDER BY c.uid, c.annotation_id",
            (DONE,),
        )
        return [list(row) for row in rows]
