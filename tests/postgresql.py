"""A real PostgreSQL, for the tests that need one: a cluster in a temporary folder, on loopback, with a password."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotators.label_studio.database import Database, server_variables
from annotators.label_studio.environment import cache_folder, command, installed_python, made_once, settings
from tests.debian import install
from tests.label_studio import needs_label_studio

HOST, PASSWORD = "127.0.0.1", "p@ss:w/rd %1"
ADMIN, USER = "postgres", "labels"
"""Who may do all, and the owner of two databases who may do nothing else."""
EMPTY, MIGRATED = "empty", "labels"
"""Databases of a cluster: one without a table, and one with the tables of Label Studio and nothing in them."""
CAREFREE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=64MB", "max_connections=200")
# The shell stops the cluster when its standard input ends: at the end of the block, or with the process of the tests.
KEEP = '"$1" start -w -t 120 -D "$2" -l "$2/log" -o "$3" >&2 && echo up && read -r _; "$1" stop -w -m fast -D "$2" >&2'


@contextmanager
def cluster() -> Iterator[Database]:
    """A running cluster, with the address of its database that has the tables of Label Studio; gone after the block."""
    needs_label_studio()
    programs = _programs()
    with _folder() as folder:
        shutil.copytree(_template(programs), folder / "data")
        _own(folder)
        with _running(programs, folder / "data", MIGRATED) as database:
            yield database


def psql(database: Database, sql: str) -> str:
    """What a statement gives: a line for each row, | between its fields."""
    client = {"PGHOST": database.host, "PGPORT": str(database.port), "PGDATABASE": database.name}
    secret = {"PGUSER": database.user, "PGPASSWORD": database.password}
    argv = [str(_programs() / "psql"), "--no-psqlrc", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1", "-c", sql]
    done = subprocess.run(argv, env={**os.environ, **client, **secret}, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _template(programs: Path) -> Path:
    """The data folder of a cluster that was stopped cleanly; no user, no organisation and no key are in it."""
    version = subprocess.check_output([programs / "postgres", "--version"], text=True).split()[2]
    template = cache_folder() / f"postgresql-{version.split('.')[0]}"
    with made_once(template) as scratch:
        if scratch is not None:
            with _folder() as folder:
                _init(programs, folder)
                with _running(programs, folder / "data", MIGRATED) as database:
                    all_may = replace(database, name="postgres", user=ADMIN)
                    psql(all_may, f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
                    for name in (EMPTY, MIGRATED):
                        psql(all_may, f"CREATE DATABASE {name} OWNER {USER}")
                    _migrate(database, folder / "home")
                shutil.copytree(folder / "data", scratch, dirs_exist_ok=True)
    return template


def _init(programs: Path, folder: Path) -> None:
    (folder / "password").write_text(PASSWORD)
    _own(folder)
    argv = [programs / "initdb", "-D", folder / "data", "-U", ADMIN, "--pwfile", folder / "password"]
    secure = ["--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync"]
    subprocess.run([*argv, *secure], check=True, capture_output=True, cwd=folder, **_unprivileged())


def _migrate(database: Database, home: Path) -> None:
    (home / "home").mkdir(parents=True)
    argv = command(installed_python(cache_folder()), "init", "--quiet", "--no-browser")
    variables = {**settings(home), **server_variables(database)}
    subprocess.run(argv, check=True, capture_output=True, cwd=home, env=variables)
    assert psql(database, "SELECT count(*) FROM htx_user") == psql(database, "SELECT count(*) FROM organization") == "0"


@contextmanager
def _running(programs: Path, data: Path, name: str) -> Iterator[Database]:
    with socket.socket() as one:
        one.bind((HOST, 0))
        port = int(one.getsockname()[1])
    options = " ".join(["-p", str(port), "-h", HOST, "-k", "''", *(f"-c {one}" for one in CAREFREE)])
    argv = ["sh", "-c", KEEP, "sh", str(programs / "pg_ctl"), str(data), options]
    with (data.parent / "pg_ctl.log").open("w") as log:
        keeper = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=data.parent,
            start_new_session=True,  # Ctrl-C reaches us, and we stop it
            **_unprivileged(),
        )
    with keeper:
        assert keeper.stdout.readline() == b"up\n", (data / "log").read_text()
        yield Database(HOST, port, name, USER, PASSWORD)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the unprivileged user reaches, as those of pytest and of the cache are not."""
    folder = Path(tempfile.mkdtemp(prefix="curate-postgresql-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _unprivileged() -> Mapping[str, Any]:
    """Keywords of a process: PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _own(folder: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _programs() -> Path:
    """The folder of PostgreSQL's programs, installed if that is possible; the test is skipped, and says so, if not."""
    why_not = "" if _found() else install("postgresql", lambda: _found() is not None)
    found = _found()
    if found is None:
        pytest.skip(f"NOT TESTED ON POSTGRESQL: initdb is neither in PATH nor in /usr/lib/postgresql; {why_not}")
    return found


def _found() -> Path | None:
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    in_path = shutil.which("initdb")
    initdb = debian[-1] if debian else Path(in_path).resolve() if in_path else None
    return None if initdb is None else initdb.parent
