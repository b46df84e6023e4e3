"""A Label Studio server on this machine, for one annotator and for tests: loopback only, no telemetry, no browser.

    python -m annotators.label_studio.local --home runs/label-studio --port 8080

keeps everything in the home: the database, what the server printed, and the passwords in secrets.json.
"""

import argparse
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from annotators.label_studio.accounts import Account, whoami
from annotators.label_studio.environment import (
    DATA,
    cache_folder,
    command,
    installed_python,
    made_once,
    settings,
    tail,
    template_home,
)
from schemas.errors import CurateError, LabelStudioError, LockedError

HOST = "127.0.0.1"
ADMIN = "admin@example.com"
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.2
LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its address without a path, its home, its administrator, its process."""

    url: str
    home: Path
    account: Account
    process: "subprocess.Popen[bytes]"


@contextmanager
def running(home: Path, port: int | None = None) -> Iterator[Server]:
    """A server that has answered and knows its administrator's token; it is stopped at the end of the block.

    home: a folder that is made the first time and kept. port: a free one if none is given.
    The server also ends when the thread that called this ends or its process is killed (Linux).
    Raises LockedError if another server runs on this home, and LabelStudioError if the port is taken, the environment
    cannot be made or the server does not come up, with the end of its log.
    """
    home = home.resolve()  # the server works in it
    python = installed_python(cache_folder())
    template = template_home(cache_folder(), python)
    with _locked(home) as lock:
        account = _account(home)
        _copy_data(template, home)
        port = port or _free_port()
        _refuse_taken(port)
        process = _launch(python, home, port, account, lock)
        try:
            url = f"http://{HOST}:{port}"
            _wait(process, url, port, home)
            _know(url, account, home)
            yield Server(url, home, account, process)
        finally:
            _stop(process)


def secrets_file(home: Path) -> Path:
    """Where a home keeps its administrator's user name, password and token; only its owner can read it."""
    return home / "secrets.json"


def log_file(home: Path) -> Path:
    """What the server printed, all starts."""
    return home / "server.log"


def main(argv: list[str] | None = None) -> int:
    """Run a server until Ctrl-C; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m annotators.label_studio.local", description="Run Label Studio.")
    parser.add_argument("--home", type=Path, required=True, help="the folder that keeps its data")
    parser.add_argument("--port", type=int, default=8080, help="on 127.0.0.1 (default: %(default)s)")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_new = not secrets_file(arguments.home).exists()
    first = (
        "" if (cache_folder() / "template").exists() else "; the first time makes its environment, which takes minutes"
    )
    print(f"starting Label Studio{first}", file=sys.stderr)
    try:
        with running(arguments.home, arguments.port) as server:
            print(_welcome(server, arguments.home, is_new), flush=True)
            code = server.process.wait()
            raise LabelStudioError(f"Label Studio ended by itself, exit code {code}: {_log_end(arguments.home)}")
    except KeyboardInterrupt:
        return 0
    except CurateError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _welcome(server: Server, home: Path, is_new: bool) -> str:
    path = shlex.quote(str(secrets_file(home.resolve())))
    read = f"$({sys.executable} -c 'import json, sys; print(json.load(open(sys.argv[1]))[\"token\"])' {path})"
    token = server.account.token if is_new else f'"{read}"'
    return (
        f"Label Studio answers at {server.url} (this machine only; Ctrl-C stops it)\n"
        f"  user name  {server.account.user_name}\n"
        f"  password   in {path}, beside the token\n"
        f"  data       in {shlex.quote(str(home))} (SQLite: for one annotator, see docs/label-studio.md)\n"
        f"export LABEL_STUDIO_TOKEN={token}"
    )


@contextmanager
def _locked(home: Path) -> Iterator[int]:
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


def _account(home: Path) -> Account:
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


def _copy_data(template: Path, home: Path) -> None:
    with made_once(home / DATA) as scratch:
        if scratch is not None:
            shutil.copytree(template / DATA, scratch, dirs_exist_ok=True)
    (home / "home").mkdir(exist_ok=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def _refuse_taken(port: int) -> None:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was closed just now is free
        try:
            one.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise _taken(port, str(error)) from error


def _taken(port: int, reason: str) -> LabelStudioError:
    what = f"port {port} of {HOST} cannot be used: {reason}"
    return LabelStudioError(what, do="stop what listens there, or choose another port")


def _launch(python: Path, home: Path, port: int, account: Account, lock: int) -> "subprocess.Popen[bytes]":
    # In the environment, not among the arguments, which every user of the machine can read. The first start makes
    # the user and its organisation; later ones find them.
    administrator = {
        "LABEL_STUDIO_USERNAME": account.user_name,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
    }
    # A page of another origin must not talk to the server in its reader's name.
    guards = {
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_ALLOWED_HOSTS": f"{HOST},localhost",
        "LABEL_STUDIO_CORS_ALLOW_ALL_ORIGINS": "false",
    }
    # --debug does one thing: a taken port is an error, where Label Studio would take the next one.
    arguments = ["start", "--no-browser", "--debug", "--enable-legacy-api-token"]
    # The log holds invitations, as the server prints the addresses that it is asked for.
    with os.fdopen(os.open(log_file(home), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        return subprocess.Popen(  # noqa: S603  our own arguments
            command(python, *arguments, "--internal-host", HOST, "--port", str(port)),
            cwd=home,
            env={**settings(home), **administrator, **guards},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
            start_new_session=True,  # Ctrl-C reaches us, and we stop it
        )


def _wait(process: "subprocess.Popen[bytes]", url: str, port: int, home: Path) -> None:
    """Return once this very process answers at /health."""
    session = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LabelStudioError(f"Label Studio ended with code {process.returncode} at its start: {_log_end(home)}")
        try:
            with session.open(f"{url}/health", timeout=POLL_S * 10) as response:
                response.read()
        except (URLError, OSError):
            time.sleep(POLL_S)
            continue
        if not _listens(process.pid, port):
            raise _taken(port, "another process answers there")
        return
    raise LabelStudioError(f"Label Studio does not answer after {START_TIMEOUT_S:.0f} s: {_log_end(home)}")


def _listens(process_id: int, port: int) -> bool:
    """Whether the process holds the listening socket; true where the system does not tell (no /proc)."""
    table = Path("/proc/net/tcp")
    if not table.is_file():
        return True
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == LISTENING and row[1].endswith(f":{port:04X}")}
    return any(_opened(one) in sockets for one in Path(f"/proc/{process_id}/fd").glob("*"))


def _opened(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # closed since it was listed
        return ""


def _know(url: str, account: Account, home: Path) -> None:
    try:
        whoami(url, account.token)
    except LabelStudioError as error:
        raise LabelStudioError(
            f"the token in {secrets_file(home)} is not accepted: {error.what}",
            do="write the token that Label Studio's account page shows into that file, or start with a new home",
        ) from error


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _log_end(home: Path) -> str:
    return f"see {log_file(home)}, which ends in\n{tail(log_file(home).read_text(encoding='utf-8', errors='replace'))}"


if __name__ == "__main__":
    sys.exit(main())
