"""The server's environment: pinned, made once, whole or not at all, and deaf to what a shell happens to hold."""

import re
import threading

import pytest

from annotators.label_studio.environment import LOCK, installed_python, made_once, settings
from schemas.errors import LabelStudioError


def test_every_library_of_the_server_is_pinned():
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line) for line in lines)
    assert "label-studio==1.23.2" in lines


def test_two_at_once_make_a_folder_once(tmp_path):
    made, both = [], threading.Barrier(2)

    def make():
        both.wait()
        with made_once(tmp_path / "whole") as scratch:
            if scratch is not None:
                (scratch / "file").write_text("all of it")
                made.append(scratch)
        assert (tmp_path / "whole" / "file").read_text() == "all of it"

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_what_could_not_be_made_or_was_abandoned_is_not_there(tmp_path):
    (tmp_path / "whole.scratch-killed").mkdir()
    with pytest.raises(ZeroDivisionError), made_once(tmp_path / "whole"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["whole.lock"]


def test_without_a_package_index_the_error_says_so_and_the_next_try_starts_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_FIND_LINKS", "")
    with pytest.raises(LabelStudioError, match="Label Studio's own environment cannot be made"):
        installed_python(tmp_path / "cache")
    assert not (tmp_path / "cache" / "venv").exists()


def test_an_environment_whose_python_is_gone_says_what_to_remove(tmp_path):
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(tmp_path / "uninstalled")
    with pytest.raises(LabelStudioError, match=r"is gone\n  -> remove .*venv and start again"):
        installed_python(tmp_path)


def test_what_the_shell_holds_does_not_reach_the_server(tmp_path, monkeypatch):
    for name in ("HOST", "DEBUG", "DJANGO_DB", "LABEL_STUDIO_HOST", "HTTPS_PROXY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "http://elsewhere.example")
    reaching = settings(tmp_path)
    assert "http://elsewhere.example" not in reaching.values()
    assert reaching["LABEL_STUDIO_COLLECT_ANALYTICS"] == "false"
