"""What a server is made from, kept outside the checkout: its own Python environment and a migrated, empty database.

Its pins contradict ours (an older openai, an older pyarrow), so it can never share our environment.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import LabelStudioError

LOCK = Path(__file__).with_name("server.lock")
LAUNCH = Path(__file__).with_name("launch.py")
PYTHON = (3, 11)
INSTALL_TIMEOUT_S = 1800.0
MIGRATION_TIMEOUT_S = 900.0
LOG_TAIL_CHARACTERS = 3000
DATA = "data"
"""The data folder's name within a home: the database, uploads and the key that signs sessions and tokens."""

# Label Studio reads each setting under three names, one of them bare (HOST, PORT, DEBUG, USERNAME …): what a user's
# shell happens to hold must not reach it.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
QUIET = {
    "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_FEATURE_FLAGS_OFFLINE": "true",
    "LABEL_STUDIO_CONVERTER_DOWNLOAD_RESOURCES": "false",
}


def cache_folder() -> Path:
    """Where the environment and the template of this lock lie."""
    cache = os.environ.get("XDG_CACHE_HOME")
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    base = Path(cache).resolve() if cache else Path.home() / ".cache"
    return base / "aligner-curation" / f"label-studio-{digest}"


def installed_python(cache: Path) -> Path:
    """The interpreter of the server's environment, which is made the first time: about 800 MB.

    Two processes at once make it once: one waits for the other. A killed one leaves no half environment.
    Raises LabelStudioError with the installer's words.
    """
    environment = cache / "venv"
    with made_once(environment) as scratch:
        if scratch is not None:
            uv = _uv()
            python = sys.executable if sys.version_info[:2] == PYTHON else ".".join(map(str, PYTHON))
            _install(cache, [uv, "venv", "--quiet", "--relocatable", "--python", python, str(scratch)])
            interpreter = str(scratch / "bin" / "python")
            _install(cache, [uv, "pip", "install", "--quiet", "--python", interpreter, "-r", str(LOCK)])
    made = environment / "bin" / "python"
    if not made.exists():
        raise LabelStudioError(
            f"the Python that {environment} was made from is gone", do=f"remove {environment} and start again"
        )
    return made


def template_home(cache: Path, python: Path) -> Path:
    """A home whose database is migrated and empty: no user, no organisation, no key. About a CPU minute the first time.

    Raises LabelStudioError with the end of what the server printed.
    """
    template = cache / "template"
    with made_once(template) as scratch:
        if scratch is not None:
            _migrate(python, scratch)
            # Each home shall sign sessions and tokens with a key of its own.
            (scratch / DATA / ".env").unlink(missing_ok=True)
    return template


def settings(home: Path) -> dict[str, str]:
    """The whole environment of a server process with this home: nothing else of ours is handed on."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    folders = {
        "HOME": str(home / "home"),
        "XDG_DATA_HOME": str(home / "home"),
        "XDG_CONFIG_HOME": str(home / "home"),
        "LABEL_STUDIO_BASE_DATA_DIR": str(home / DATA),
    }
    return {**passed_on, **folders, **QUIET}


def command(python: Path, *arguments: str) -> list[str]:
    """How `label-studio` is called so that it ends with this process; -P keeps our own folder out of its imports."""
    return [str(python), "-P", str(LAUNCH), str(os.getpid()), *arguments]


@contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """A scratch folder that becomes `folder` when the block ends well, or None if `folder` is there already.

    One process at a time is in the block; what a killed one left is removed.
    """
    if folder.is_dir():
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            yield None
            return
        for abandoned in folder.parent.glob(f"{folder.name}.scratch-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.scratch-"))
        try:
            yield scratch
            scratch.replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def tail(text: str) -> str:
    """The end of a log, for an error's text."""
    return text.strip()[-LOG_TAIL_CHARACTERS:]


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise LabelStudioError("Label Studio's own environment is made by uv, which is not there", do="pip install uv")
    return found


def _install(cache: Path, argv: list[str]) -> None:
    # In the cache folder, as uv would read the settings of a project that it is called in.
    _run(argv, cache, os.environ, INSTALL_TIMEOUT_S, "Label Studio's own environment cannot be made")


def _migrate(python: Path, home: Path) -> None:
    (home / "home").mkdir()
    argv = command(python, "init", "--quiet", "--no-browser")
    _run(argv, home, settings(home), MIGRATION_TIMEOUT_S, "Label Studio's database cannot be made")


def _run(argv: list[str], folder: Path, variables: Mapping[str, str], timeout_s: float, problem: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603  our own arguments
            argv,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabelStudioError(f"{problem}: not done after {timeout_s:.0f} s", do="run it again") from error
    if done.returncode != 0:
        raise LabelStudioError(f"{problem}: {tail(done.stdout)}", do="see what it says above, then run it again")
