"""What a local server keeps in its home: data, the administrator's secrets, the log; one server at a time."""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from annotators.label_studio.accounts import Account
from annotators.label_studio.database import VARIABLE, Database
from annotators.label_studio.environment import DATA, cache_folder, made_once, template_home
from schemas.errors import LabelStudioError, LockedError

ADMIN = "admin@example.com"
SQLITE = "label_studio.sqlite3"
"""The database's name within the data folder, where it is SQLite."""


def secrets_file(home: Path) -> Path:
    """Where a home keeps its administrator's user name, password and token; only its owner can read it."""
    return home / "secrets.json"


def log_file(home: Path) -> Path:
    """What the server printed, all starts."""
    return home / "server.log"


@contextmanager
def locked(home: Path) -> Iterator[int]:
    """The home's lock, as a descriptor that the server inherits: it is held as long as one of the two lives."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(home / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(f"a Label Studio server runs on {home}", do="stop it, or use another home") from error
        yield descriptor
    finally:
        os.close(descriptor)


def account_of(home: Path) -> Account:
    """The administrator of this home. Its secrets are written before the server first hears of them."""
    path = secrets_file(home)
    if not path.exists():
        account = Account(ADMIN, secrets.token_urlsafe(18), secrets.token_hex(20))
        scratch = path.with_suffix(".scratch")
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(account), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    try:
        return Account(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise LabelStudioError(
            f"{path} does not hold user_name, password and token", do="repair it, or start with a new home"
        ) from error


def prepare_home(home: Path, python: Path, database: Database | None) -> None:
    """Make the folders of a new home, with an empty SQLite database where no other is named.

    Raises LabelStudioError where the home was made with a database of the other kind: work that lies there must not
    seem lost.
    """
    _refuse_other_kind(home, database)
    if database is None:
        with made_once(home / DATA) as scratch:
            if scratch is not None:
                shutil.copytree(template_home(cache_folder(), python) / DATA, scratch, dirs_exist_ok=True)
    (home / DATA).mkdir(exist_ok=True)
    (home / "home").mkdir(exist_ok=True)


def _refuse_other_kind(home: Path, database: Database | None) -> None:
    if not (home / DATA).exists():
        return
    is_sqlite = (home / DATA / SQLITE).exists()
    if is_sqlite and database is not None:
        raise LabelStudioError(
            f"{home} holds a SQLite database, and {VARIABLE} names a PostgreSQL one",
            do=f"unset {VARIABLE}, or take another home",
        )
    if not is_sqlite and database is None:
        raise LabelStudioError(
            f"{home} was made for a PostgreSQL database, and {VARIABLE} is not set",
            do=f"export {VARIABLE} as docs/label-studio.md says, or take another home",
        )
