"""The ledger of people's work: projects, tasks and every version of every annotation; the server holds work in flight.

An annotation that changed after it was pulled gets a new version; none is ever overwritten.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from curate.ledger.journal import now
from curate.ledger.tables import connect, migrate

DONE, SKIPPED, DELETED, QUARANTINED = "done", "skipped", "deleted", "quarantined"
OF_PIPELINE = """label_current AS c JOIN label_tasks AS t ON t.uid = c.uid
WHERE c.state = ? AND t.pipeline IN ('', ?) AND t.pair_id <> ''"""
"""Of an earlier version's ledger the pipeline is not known: it had one."""
PLANNED = ("uid", "title", "pair_id", "annotator", "answer", "draft", "data_hash", "pipeline", "step", "subject")


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task as it is, or is to be, on the server. remote_id: None until it was seen there.

    answer: what the verdict "fine" keeps. subject: JSON of the ids of what it was made from.
    """

    uid: str
    title: str
    pair_id: str
    annotator: str
    answer: str
    draft: str
    data_hash: str
    pipeline: str
    step: str = "correct"
    subject: str = "[]"
    remote_id: int | None = None


@dataclass(frozen=True, slots=True)
class Gold:
    """What a hidden task should become. verdict: fine, changed or reject; correction: a good one, where changed."""

    uid: str
    verdict: str
    correction: str | None


@dataclass(frozen=True, slots=True)
class LabelProject:
    """One project of ours on a server. cursor: the time up to which it was pulled.

    origin: the address under which this server was known first; pseudonyms are made of it.
    """

    title: str
    url: str
    origin: str
    remote_id: int
    pipeline: str
    annotator: str
    step: str
    cursor: str | None


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
    """What one person said of one task, in its newest version. text: None where the pair was rejected."""

    annotation_id: int
    title: str
    person: str | None
    verdict: str
    text: str | None
    reasons: tuple[str, ...]
    seconds: float | None


Rulings = Mapping[str, Sequence[Ruling]]
"""Of each task (by its uid) what people said, the newest last, of each person the newest."""


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

    def projects(self, url: str | None = None) -> list[LabelProject]:
        """Every project that was made, or those on one server."""
        rows = self._all("SELECT * FROM label_projects WHERE url = ? OR ? IS NULL ORDER BY title", (url, url))
        return [LabelProject(*(row[name] for name in LabelProject.__slots__)) for row in rows]

    def note_project(self, project: LabelProject) -> None:
        """A project is on the server. A title stands for one project for ever: its annotations' ids are that one's."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO label_projects (title, url, origin, remote_id, pipeline, annotator, step, made_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (title) DO NOTHING",
                (
                    *(project.title, project.url, project.origin, project.remote_id, project.pipeline),
                    *(project.annotator, project.step, now()),
                ),
            )

    def origin(self, url: str) -> str:
        """The address under which the server at this one was known first."""
        return next((project.origin for project in self.projects(url)), url)

    def readdress(self, title: str, url: str) -> None:
        """A project's server has another address by now."""
        with self._transaction():
            self._connection.execute("UPDATE label_projects SET url = ? WHERE title = ?", (url, title))

    def plan(self, tasks: Sequence[PlannedTask], gold: Sequence[Gold] = ()) -> None:
        """Write tasks down before any is sent; those that are known stay as they are.

        gold: what is known of some of them; it never leaves this ledger.
        """
        at = now()
        with self._transaction():
            self._connection.executemany(
                f"INSERT OR IGNORE INTO label_tasks ({', '.join(PLANNED)}, planned_at) "  # noqa: S608  our own names
                f"VALUES ({', '.join('?' * len(PLANNED))}, ?)",
                [(*(getattr(task, name) for name in PLANNED), at) for task in tasks],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO label_gold VALUES (?, ?, ?)",
                [(one.uid, one.verdict, one.correction) for one in gold],
            )

    def forget(self, uids: Iterable[str]) -> None:
        """Tasks that were taken from the server before anybody began them: as if they had never been planned."""
        gone = list(uids)
        with self._transaction():
            for table in ("label_tasks", "label_gold"):
                statement = f"DELETE FROM {table} WHERE uid = ?"  # noqa: S608  our own names
                self._connection.executemany(statement, [(uid,) for uid in gone])

    def move(self, uids: Iterable[str], title: str) -> None:
        """Tasks whose project is not there any more: they are to be in another one, with all that people did."""
        statement = "UPDATE label_tasks SET remote_id = NULL, deleted_at = NULL, title = ? WHERE uid = ?"
        with self._transaction():
            self._connection.executemany(statement, [(title, uid) for uid in uids])

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

    def tasks(self, title: str) -> dict[str, PlannedTask]:
        """All tasks of a project by uid."""
        rows = self._all("SELECT * FROM label_tasks WHERE title = ? ORDER BY uid", (title,))
        return {row["uid"]: PlannedTask(*(row[name] for name in PlannedTask.__slots__)) for row in rows}

    def places(self, uids: Iterable[str]) -> dict[str, str]:
        """The title that each of these tasks was planned for; those that are not known are left out."""
        known = {row["uid"]: row["title"] for row in self._all("SELECT uid, title FROM label_tasks", ())}
        return {uid: known[uid] for uid in uids if uid in known}

    def unusable(self, title: str) -> dict[str, int]:
        """Of tasks of a project, annotations that do not count: in quarantine, or another one by the same person."""
        rows = self._all(
            "SELECT uid, SUM(state = 'quarantined') + SUM(state = 'done') "
            "- COUNT(DISTINCT CASE WHEN state = 'done' THEN person END) AS count FROM label_current "
            "WHERE title = ? AND uid IS NOT NULL GROUP BY uid",
            (title,),
        )
        return {row["uid"]: row["count"] for row in rows if row["count"]}

    def sizes(self) -> dict[str, int]:
        """Tasks of each project."""
        rows = self._all("SELECT title, COUNT(*) AS tasks FROM label_tasks GROUP BY title", ())
        return {row["title"]: row["tasks"] for row in rows}

    def uids(self, title: str, *, gold: bool = True) -> set[str]:
        """Tasks of a project, with or without gold ones."""
        rows = self._all("SELECT uid FROM label_tasks WHERE title = ? AND (? OR pair_id <> '')", (title, gold))
        return {row["uid"] for row in rows}

    def worked(self, title: str) -> set[str]:
        """Tasks of a project that somebody annotated or skipped, however it was ruled since."""
        rows = self._all("SELECT DISTINCT uid FROM label_annotations WHERE title = ? AND uid IS NOT NULL", (title,))
        return {row["uid"] for row in rows}

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

    def said(self) -> dict[str, list[Ruling]]:
        """What people said of each task, the newest last; of each person the newest that is done."""
        found: dict[str, dict[str | None, Ruling]] = {}
        rows = self._all(
            "SELECT * FROM label_current WHERE state = ? AND uid IS NOT NULL ORDER BY updated_at, annotation_id",
            (DONE,),
        )
        for row in rows:
            by_person = found.setdefault(row["uid"], {})
            by_person.pop(row["person"], None)
            by_person[row["person"]] = Ruling(
                row["annotation_id"],
                row["title"],
                row["person"],
                row["verdict"],
                row["text"],
                tuple(json.loads(row["reasons"])),
                row["lead_time_s"],
            )
        return {uid: list(by_person.values()) for uid, by_person in found.items()}

    def adjudications(self, pipeline: str) -> dict[str, list[tuple[str, list[str]]]]:
        """By pair the tasks in which a person chooses, the newest last: uid, and ids of the corrections shown."""
        found: dict[str, list[tuple[str, list[str]]]] = {}
        query = (
            "SELECT pair_id, uid, subject FROM label_tasks WHERE step = 'adjudicate' AND pipeline = ? "
            "ORDER BY planned_at, uid"
        )
        for row in self._all(query, (pipeline,)):
            found.setdefault(row["pair_id"], []).append((row["uid"], json.loads(row["subject"])))
        return found

    def ratings(self, pipeline: str) -> dict[str, list[tuple[str, str, int]]]:
        """Of each axis that people rated: the task, the person and the rating, the newest of each person; no gold."""
        found: dict[str, dict[tuple[str, str], int]] = {}
        rows = self._all(
            f"SELECT c.uid, c.person, c.ratings FROM {OF_PIPELINE} ORDER BY c.updated_at, c.annotation_id",  # noqa: S608
            (DONE, pipeline),
        )
        for row in rows:
            for axis, rating in json.loads(row["ratings"]).items():
                found.setdefault(axis, {})[row["uid"], row["person"]] = rating
        return {
            axis: [(*who, rating) for who, rating in sorted(rated.items())] for axis, rated in sorted(found.items())
        }

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What a query of ours finds, for the reports in curate/labelling/reports.py."""
        return [dict(row) for row in self._all(query, ())]

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


def content_of_rulings(path: Path, pipeline: str) -> list[list[Any]]:
    """What the rulings of a pipeline are, for a stage's key, without gold; empty where there is no ledger."""
    if not path.is_file():
        return []
    with closing(connect(path)) as connection:
        migrate(connection, path)
        rows = connection.execute(
            f"SELECT c.uid, c.title, c.annotation_id, c.version FROM {OF_PIPELINE} "  # noqa: S608  our own words
            "ORDER BY c.uid, c.title, c.annotation_id",
            (DONE, pipeline),
        )
        return [list(row) for row in rows]
