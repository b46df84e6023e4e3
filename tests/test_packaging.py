"""What is installed: one wheel with three packages and no torch, a lock that pins every declared library."""

import re
import subprocess
import sys
import tomllib
import zipfile

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", one)[0].lower().replace("_", "-") for one in requirements}


def test_the_wheel_holds_the_three_packages_and_the_schemas(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        entry = next(name for name in files if name.endswith("entry_points.txt"))
        assert "curate = curate.cli:main" in archive.read(entry).decode()
    assert {name.split("/")[0] for name in files if ".dist-info" not in name} == {"schemas", "annotators", "curate"}
    assert any(name.endswith(".schema.json") for name in files)


def test_the_base_install_needs_no_torch():
    heavy = {"torch", "transformers", "sentence-transformers", "faiss-cpu", "openai", "anthropic", "datasets", "pandas"}
    assert not names(PROJECT["dependencies"]) & heavy


def test_the_lock_pins_every_declared_library():
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[a-z0-9._-]+(\[[a-z,]+\])?==[0-9][\w.!]*", line) for line in locked), (
        "pinned, and no local version"
    )
    declared = [*PROJECT["dependencies"]]
    for extra, requirements in PROJECT["optional-dependencies"].items():
        declared += [] if extra == "embed-gpu" else requirements
    assert names(declared) <= names(locked)
