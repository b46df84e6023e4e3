"""A Label Studio server on this machine: loopback only, no telemetry, no browser.

    python -m annotators.label_studio.local --home runs/label-studio --port 8080

keeps everything in the home: the database, what the server printed, and the passwords in secrets.json. With the
environment variable LABEL_STUDIO_DATABASE the database is PostgreSQL, for more than one annotator.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from annotators.label_studio.accounts import Account, whoami
from annotators.label_studio.database import Database, configured_database, refuse_unusable, server_variables
from annotators.label_studio.environment import cache_folder, command, installed_python, settings, tail
from annotators.label_studio.home import account_of, locked, log_file, prepare_home, secrets_file
from schemas.errors import CurateError, LabelStudioError

HOST = "127.0.0.1"
START_TIMEOUT_S = 600.0
"""The first start on an empty PostgreSQL makes its tables, which takes about a minute on a quiet machine."""
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
def running(home: Path, port: int | None = None, database: Database | None = None) -> Iterator[Server]:
    """A server that has answered and knows its administrator's token; it is stopped at the end of the block.

    home: a folder that is made the first time and kept. port: a free one if none is given. database: a PostgreSQL one
    that exists, its tables are made the first time; without one the data are in SQLite, in the home.
    The server also ends when the thread that called this ends or its process is killed (Linux).
    Raises LockedError if another server runs on this home, and LabelStudioError if the port is taken, the database
    cannot be used, the environment cannot be made or the server does not come up, with the end of its log.
    """
    home = home.resolve()  # the server works in it
    python = installed_python(cache_folder())
    with locked(home) as lock:
        if database is not None:
            refuse_unusable(database, python, home)
        prepare_home(home, python, database)
        account = account_of(home)
        port = port or _free_port()
        _refuse_taken(port)
        process = _launch(python, home, port, {**_administrator(account), **server_variables(database)}, lock)
        try:
            url = f"http://{HOST}:{port}"
            _wait(process, url, port, home)
            _know(url, account, home)
            yield Server(url, home, account, process)
        finally:
            _stop(process)


def main(argv: list[str] | None = None) -> int:
    """Run a server until Ctrl-C; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m annotators.label_studio.local", description="Run Label Studio.")
    parser.add_argument("--home", type=Path, required=True, help="the folder that keeps its data")
    parser.add_argument("--port", type=int, default=8080, help="on 127.0.0.1 (default: %(default)s)")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_new = not secrets_file(arguments.home).exists()
    first = "; the first time makes environment and tables, which takes minutes" if is_new else ""
    print(f"starting Label Studio{first}", file=sys.stderr)
    try:
        database = configured_database(os.environ)
        with running(arguments.home, arguments.port, database) as server:
            print(_welcome(server, arguments.home, database, is_new), flush=True)
            code = server.process.wait()
            raise LabelStudioError(f"Label Studio ended by itself, exit code {code}: {_log_end(arguments.home)}")
    except KeyboardInterrupt:
        return 0
    except CurateError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _welcome(server: Server, home: Path, database: Database | None, is_new: bool) -> str:
    path = shlex.quote(str(secrets_file(home.resolve())))
    read = f"$({sys.executable} -c 'import json, sys; print(json.load(open(sys.argv[1]))[\"token\"])' {path})"
    token = server.account.token if is_new else f'"{read}"'
    kept = "SQLite: for one annotator, see docs/label-studio.md" if database is None else f"and PostgreSQL: {database}"
    return (
        f"Label Studio answers at {server.url} (this machine only; Ctrl-C stops it)\n"
        f"  user name  {server.account.user_name}\n"
        f"  password   in {path}, beside the token\n"
        f"  data       in {shlex.quote(str(home))} ({kept})\n"
        f"export LABEL_STUDIO_TOKEN={token}"
    )


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


def _administrator(account: Account) -> dict[str, str]:
    """Variables of the first start, which makes the user and its organisation; later ones find them."""
    return {
        "LABEL_STUDIO_USERNAME": account.user_name,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
    }


def _launch(python: Path, home: Path, port: int, secret: Mapping[str, str], lock: int) -> "subprocess.Popen[bytes]":
    # Secrets go in the environment, not among the arguments, which every user of the machine can read.
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
            env={**settings(home), **secret, **guards},
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
