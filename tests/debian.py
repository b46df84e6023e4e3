"""Debian's packages that tests need: where they are missing root installs them, one process at a time."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

INSTALL_TIMEOUT_S = 900


def install(package: str, is_there: Callable[[], bool]) -> str:
    """Why a package is not there after this; empty where it is. Another worker may have installed it meanwhile."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"only root may install it: apt-get install {package}"
    with Path("/tmp/curate-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return "" if is_there() else _installed(package)


def _installed(package: str) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "-q", "--no-install-recommends", package]):
        argv = ["apt-get", *command]
        try:
            done = subprocess.run(
                argv,
                check=False,
                capture_output=True,
                text=True,
                env=environment,
                stdin=subprocess.DEVNULL,
                timeout=INSTALL_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return f"apt-get {command[0]} took more than {INSTALL_TIMEOUT_S} s"
        if done.returncode != 0:
            return f"apt-get {command[0]} says {(done.stderr or done.stdout).strip()[-300:]}"
    return ""
