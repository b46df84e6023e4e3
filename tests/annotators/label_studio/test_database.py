"""A server on PostgreSQL: the address is read strictly and its password never shown; what cannot work is told at once."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from annotators.label_studio.database import VARIABLE, Database, configured_database, read_database
from annotators.label_studio.environment import DATA
from annotators.label_studio.home import SQLITE, log_file, prepare_home, secrets_file
from annotators.label_studio.local import running
from schemas.errors import LabelStudioError
from tests.conftest import ROOT
from tests.label_studio import free_port
from tests.postgresql import ADMIN, EMPTY, psql


def url_of(database: Database) -> str:
    user, password = (quote(one, safe="") for one in (database.user, database.password))
    return f"postgresql://{user}:{password}@{database.host}:{database.port}/{database.name}"


def test_an_address_is_read_and_its_password_is_not_shown():
    database = read_database("postgresql://labels:p%40ss%3Aw%2Frd%20%251@db.example:5433/labels%20two")
    assert database == Database("db.example", 5433, "labels two", "labels", "p@ss:w/rd %1")
    assert database.password not in repr(database)
    assert str(database) == "labels two at db.example:5433"
    assert read_database("postgres://u:p@[::1]/n") == Database("::1", 5432, "n", "u", "p")


def test_no_address_means_sqlite():
    assert configured_database({}) is None
    assert configured_database({VARIABLE: " "}) is None
    assert configured_database({VARIABLE: "postgresql://u:p@h:1/n\n"}) == Database("h", 1, "n", "u", "p")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://u:secret@h:1/n", "does not begin with postgresql://"),
        ("u:secret@h:1/n", "does not begin with postgresql://"),
        ("postgresql://u:secret@h:1/n?sslmode=require", "has options"),
        ("postgresql://u:secret#2@h:1/n", "has options, or a"),
        ("postgresql://u:secret@h:many/n", "host or port cannot be read"),
        ("postgresql://u:secret@h:70000/n", "host or port cannot be read"),
        ("postgresql://u:secret@[h/n", "host or port cannot be read"),
        ("postgresql://u:secret/2@h:1/n", "cannot be read"),
        ("postgresql://u:secret@h:1", "has no name of the database"),
        ("postgresql://u:secret@h:1/n/m", "no name of a database"),
        ("postgresql://u:secret@/n", "has no host"),
        ("postgresql://u@h:1/n", "has no password"),
        ("postgresql://h:1", "has no user and no password and no name of the database"),
    ],
)
def test_an_address_that_is_not_understood_is_refused_without_repeating_it(url, why):
    with pytest.raises(LabelStudioError, match=why) as caught:
        read_database(url)
    assert "secret" not in str(caught.value)
    assert caught.value.do.startswith(f"export {VARIABLE}='postgresql://user:password@host:port/name'")
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"password": "another"}, 'password authentication failed for user "labels"'),
        ({"user": "stranger"}, 'password authentication failed for user "stranger"'),
        ({"name": "elsewhere"}, 'database "elsewhere" does not exist'),
        ({"port": 0}, "Connection refused"),
        ({"name": "narrow"}, "has the encoding SQL_ASCII"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_before_a_start(postgresql, tmp_path, wrong, why):
    if wrong == {"name": "narrow"}:
        psql(replace(postgresql, user=ADMIN), "CREATE DATABASE narrow ENCODING 'SQL_ASCII' TEMPLATE template0")
    if wrong == {"port": 0}:
        wrong = {"port": free_port()}
    with (
        pytest.raises(LabelStudioError, match=why) as caught,
        running(tmp_path, database=replace(postgresql, **wrong)),
    ):
        pytest.fail("it started")
    assert postgresql.password not in str(caught.value)
    assert not secrets_file(tmp_path).exists()


def test_a_home_is_not_started_on_the_other_kind_of_database(postgresql, tmp_path):
    (tmp_path / "a" / DATA).mkdir(parents=True)
    with pytest.raises(LabelStudioError, match="was made for a PostgreSQL database"):
        prepare_home(tmp_path / "a", tmp_path, None)
    (tmp_path / "b" / DATA).mkdir(parents=True)
    (tmp_path / "b" / DATA / SQLITE).touch()
    with pytest.raises(LabelStudioError, match="holds a SQLite database"):
        prepare_home(tmp_path / "b", tmp_path, postgresql)


def test_the_command_makes_the_tables_of_an_empty_database_once_and_shows_no_password(postgresql, tmp_path):
    empty = replace(postgresql, name=EMPTY)
    argv = [sys.executable, "-m", "annotators.label_studio.local", "--home", "people", "--port", "0"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: url_of(empty)}
    titles = []
    for _ in range(2):
        with subprocess.Popen(argv, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True) as command:
            said = [command.stdout.readline() for _ in range(5)]
            url = said[0].split()[4]
            headers = {"Authorization": f"Token {json.loads(secrets_file(tmp_path / 'people').read_text())['token']}"}
            body = urlopen(Request(f"{url}/api/projects/", b"title=Corrections", headers), timeout=60).read()
            titles.append(json.loads(body)["title"])
            command.send_signal(signal.SIGINT)
        assert command.returncode == 0
        assert said[3] == f"  data       in people (and PostgreSQL: {EMPTY} at 127.0.0.1:{postgresql.port})\n"
    assert titles == psql(empty, "SELECT title FROM project").splitlines()
    assert not (tmp_path / "people" / DATA / SQLITE).exists()
    assert postgresql.password not in "".join(said) + log_file(tmp_path / "people").read_text()
