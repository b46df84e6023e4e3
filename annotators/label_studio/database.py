"""A PostgreSQL database that a local server runs on: where it is, and whether it can be used, asked before a start."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from annotators.label_studio.environment import settings
from schemas.errors import LabelStudioError

VARIABLE = "LABEL_STUDIO_DATABASE"
SHAPE = "postgresql://user:password@host:port/name"
CONNECT_TIMEOUT_S = 10
LOOK_TIMEOUT_S = 60.0
LOOK = """
import sys, psycopg
try:
    with psycopg.connect() as connection:
        print(connection.info.parameter_status("server_encoding"))
except psycopg.Error as error:
    sys.exit(str(error))
"""
"""Runs in the server's environment, which has the driver; address and password come in the environment."""


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database that exists, and a user who may make tables in it."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name} at {self.host}:{self.port}"


def configured_database(environment: Mapping[str, str]) -> Database | None:
    """The database that LABEL_STUDIO_DATABASE names, or None where it is not set. Raises LabelStudioError."""
    url = environment.get(VARIABLE, "").strip()
    return read_database(url) if url else None


def read_database(url: str) -> Database:
    """The database of `postgresql://user:password@host:port/name`; port 5432 where none is given.

    Signs such as @ : / % in user, password and name are percent-encoded.
    Raises LabelStudioError for anything else, without repeating what may be a password.
    """
    if "?" in url or "#" in url:
        raise _unreadable("it has options, or a ? or # that is not percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _unreadable("its host or port cannot be read") from None  # whose text may hold the password
    if parts.scheme not in {"postgresql", "postgres"}:
        raise _unreadable("it does not begin with postgresql://")
    user, password, name = (unquote(one or "") for one in (parts.username, parts.password, parts.path[1:]))
    given = {"user": user, "password": password, "host": parts.hostname, "name of the database": name}
    if missing := [what for what, value in given.items() if not value]:
        raise _unreadable(f"it has no {' and no '.join(missing)}")
    if "/" in parts.path[1:] or "\0" in user + password + name:
        raise _unreadable("the name after the host is no name of a database")
    return Database(str(parts.hostname), 5432 if port is None else port, name, user, password)


def server_variables(database: Database | None) -> dict[str, str]:
    """What tells Label Studio its database; without one it takes SQLite in its data folder."""
    if database is None:
        return {}
    return {
        "DJANGO_DB": "default",  # PostgreSQL, although it does not say so
        "POSTGRE_HOST": database.host,
        "POSTGRE_PORT": str(database.port),
        "POSTGRE_NAME": database.name,
        "POSTGRE_USER": database.user,
        "POSTGRE_PASSWORD": database.password,
    }


def refuse_unusable(database: Database, python: Path, home: Path) -> None:
    """Connect once, as the server will. Raises LabelStudioError with PostgreSQL's words where that cannot work.

    python: of the server's environment.
    """
    client = {
        "PGHOST": database.host,
        "PGPORT": str(database.port),
        "PGDATABASE": database.name,
        "PGUSER": database.user,
        "PGPASSWORD": database.password,
        "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_S),
    }
    try:
        done = subprocess.run(  # noqa: S603  our own arguments
            [str(python), "-I", "-c", LOOK],
            cwd=home,
            env={**settings(home), **client},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOOK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabelStudioError(
            f"PostgreSQL did not answer for the database {database} in {LOOK_TIMEOUT_S:.0f} s",
            do=f"does {VARIABLE} name the right host and port?",
        ) from error
    if done.returncode != 0:
        raise LabelStudioError(
            f"the database {database} cannot be used as {database.user}: {' '.join(done.stderr.split())}",
            do=f"start PostgreSQL, make user and database (docs/label-studio.md), or correct {VARIABLE}",
        )
    if (encoding := done.stdout.strip()) != "UTF8":
        raise LabelStudioError(
            f"the database {database} has the encoding {encoding}, which cannot hold all texts",
            do="make it anew: createdb --encoding UTF8 --template template0 --owner USER NAME",
        )


def _unreadable(why: str) -> LabelStudioError:
    return LabelStudioError(
        f"{VARIABLE} cannot be read: {why}",
        do=f"export {VARIABLE}='{SHAPE}', with signs such as @ : / # in it percent-encoded",
    )
