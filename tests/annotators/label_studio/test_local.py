"""A local Label Studio: ours, on loopback, with a token that works; nothing is left behind and nothing is lost."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from annotators.label_studio.accounts import add_user, personal_access_token, sign_up, whoami
from annotators.label_studio.environment import cache_folder, installed_python
from annotators.label_studio.home import ADMIN, locked, secrets_file
from annotators.label_studio.local import _launch, _listens, _stop, _wait, running
from schemas.errors import LabelStudioError, LockedError
from tests.conftest import ROOT
from tests.label_studio import needs_label_studio


def call(url: str, path: str, authorization: str = "", content: object = None) -> object:
    headers = {"Content-Type": "application/json", "Authorization": authorization}
    body = None if content is None else json.dumps(content).encode()
    with urlopen(Request(url + path, data=body, headers=headers), timeout=60) as response:
        return json.loads(response.read())


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def is_open(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as one:
        return one.connect_ex((host, port)) == 0


def test_it_answers_on_loopback_and_nowhere_else(label_studio):
    assert call(label_studio.url, "/health") == {"status": "UP"}
    port = port_of(label_studio.url)
    assert is_open(port)
    assert not is_open(port, "127.0.0.2"), "a server on 0.0.0.0 would answer there"


def test_the_administrators_token_works(label_studio):
    assert whoami(label_studio.url, label_studio.account.token) == ADMIN


def test_a_wrong_token_is_refused(label_studio):
    with pytest.raises(LabelStudioError, match="whoami answered 401"):
        whoami(label_studio.url, "0" * 40)


def test_a_second_user_has_a_token_of_its_own(label_studio, second_annotator):
    assert second_annotator.token != label_studio.account.token
    assert whoami(label_studio.url, second_annotator.token) == "second@example.com"


def test_a_user_is_not_added_twice(label_studio, second_annotator):
    with pytest.raises(LabelStudioError, match=r"did not sign second@example\.com up"):
        add_user(label_studio.url, label_studio.account.token, second_annotator.user_name, "another-password")


def test_a_personal_access_token_is_exchanged_for_access(label_studio):
    account = add_user(label_studio.url, label_studio.account.token, "third@example.com", "third-password")
    lasting = personal_access_token(label_studio.url, account.token)
    access = call(label_studio.url, "/api/token/refresh/", content={"refresh": lasting})["access"]
    assert call(label_studio.url, "/api/current-user/whoami", f"Bearer {access}")["email"] == "third@example.com"


def test_an_error_repeats_no_secret(label_studio):
    with pytest.raises(LabelStudioError) as caught:
        whoami(label_studio.url, "0123456789" * 4)
    assert "0123456789" not in str(caught.value)
    assert label_studio.account.token not in repr(label_studio)
    assert label_studio.account.password not in repr(label_studio)


def test_its_pages_report_to_nobody(label_studio):
    with urlopen(f"{label_studio.url}/user/login/", timeout=60) as response:
        page = response.read().decode()
    assert "collect_analytics = false" in page
    assert "sentry" not in page.lower()
    assert not re.findall(r'(?:src|href)="https?:', page)


def test_a_page_that_another_name_leads_to_is_refused(label_studio):
    with pytest.raises(HTTPError, match="400"):
        urlopen(Request(f"{label_studio.url}/user/login/", headers={"Host": "elsewhere.example"}), timeout=60)


def test_nobody_signs_up_without_an_invitation(label_studio):
    with pytest.raises(LabelStudioError, match="signup/ answered 403"):
        sign_up(f"{label_studio.url}/user/signup/", "stranger@example.com", "stranger-password")


def test_a_taken_port_is_refused(label_studio, tmp_path):
    port = port_of(label_studio.url)
    with (
        pytest.raises(LabelStudioError, match=rf"port {port} of 127\.0\.0\.1 cannot be used: .*in use"),
        running(tmp_path, port),
    ):
        pytest.fail("it started")


def test_a_port_that_was_taken_meanwhile_is_not_mistaken_for_ours(label_studio, tmp_path):
    python = installed_python(cache_folder())
    with locked(tmp_path) as lock:
        process = _launch(python, tmp_path, port_of(label_studio.url), {}, lock)
        try:
            with pytest.raises(LabelStudioError, match="another process answers there"):
                _wait(process, label_studio.url, port_of(label_studio.url), tmp_path)
        finally:
            _stop(process)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path):
    needs_label_studio()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "label_studio.sqlite3").write_text("no database at all")
    with (
        pytest.raises(LabelStudioError, match=r"ended with code 1 at its start(?s:.*)file is not a database"),
        running(tmp_path),
    ):
        pytest.fail("it started")


def test_a_home_whose_token_was_changed_says_where_to_write_the_new_one(label_studio, tmp_path):
    shutil.copytree(label_studio.home / "data", tmp_path / "data")
    secrets = {"user_name": ADMIN, "password": "some-words-here", "token": "0" * 40}
    secrets_file(tmp_path).write_text(json.dumps(secrets))
    with pytest.raises(LabelStudioError, match=r"the token in .*secrets\.json is not accepted"), running(tmp_path):
        pytest.fail("it started")


def test_one_home_has_one_server(label_studio):
    with pytest.raises(LockedError, match="a Label Studio server runs on"), running(label_studio.home):
        pytest.fail("it started")


def test_who_listens_is_known():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        assert not _listens(os.getpid(), port)
        one.listen()
        assert _listens(os.getpid(), port)
        with subprocess.Popen(["sleep", "60"]) as other:
            assert not _listens(other.pid, port)
            other.kill()


def test_a_stopped_server_leaves_nothing_running_and_a_second_start_keeps_the_data(tmp_path):
    needs_label_studio()
    with running(tmp_path) as first:
        call(first.url, "/api/projects/", f"Token {first.account.token}", {"title": "Corrections"})
    assert first.process.returncode is not None
    assert not is_open(port_of(first.url))
    with running(tmp_path) as second:
        assert second.account == first.account
        projects = call(second.url, "/api/projects/", f"Token {first.account.token}")
    assert [project["title"] for project in projects["results"]] == ["Corrections"]


@contextmanager
def commanded(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    """The command in a folder, as a user calls it: with a home that is relative to it."""
    needs_label_studio()
    argv = [sys.executable, "-m", "annotators.label_studio.local", "--home", "runs/people", "--port", "0"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True) as command:
        yield command


def test_the_command_shows_the_token_once_and_its_server_dies_with_it(tmp_path):
    home = tmp_path / "runs" / "people"
    with commanded(tmp_path) as command:
        said = [command.stdout.readline() for _ in range(5)]
        port = int(said[0].split("127.0.0.1:")[1].split()[0])
        account = json.loads(secrets_file(home).read_text())
        assert said[-1] == f"export LABEL_STUDIO_TOKEN={account['token']}\n"
        assert account["password"] not in "".join(said)
        assert secrets_file(home).stat().st_mode & 0o777 == 0o600
        assert {one.name for one in home.iterdir() if one.is_dir()} == {"data", "home"}
        command.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while is_open(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_open(port)


def test_the_command_ends_well_when_it_is_told_to_and_shows_the_token_no_more(tmp_path):
    shown = []
    for _ in range(2):
        with commanded(tmp_path) as command:
            said = [command.stdout.readline() for _ in range(5)]
            port = int(said[0].split("127.0.0.1:")[1].split()[0])
            command.send_signal(signal.SIGINT)
        assert command.returncode == 0
        assert not is_open(port)
        shown.append(f'{said[-1]}printf %s "$LABEL_STUDIO_TOKEN"')
    token = json.loads(secrets_file(tmp_path / "runs" / "people").read_text())["token"]
    assert [token in script for script in shown] == [True, False]
    for script in shown:
        assert subprocess.check_output(script, shell=True, cwd=tmp_path, text=True) == token
