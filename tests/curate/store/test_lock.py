import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from curate.store.lock import writer_lock
from schemas.errors import LockedError

HOLD = """
import sys, time
from pathlib import Path
from curate.store.lock import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_writer_is_told_who_holds_the_lock(holder, tmp_path):
    with pytest.raises(LockedError, match=f"process {holder.pid} on "), writer_lock(tmp_path):
        pass


def test_the_lock_of_a_killed_holder_is_free(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with writer_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_two_run_directories_do_not_hinder_each_other(holder, tmp_path):
    with writer_lock(tmp_path / "other"):
        assert holder.poll() is None


def test_a_patient_writer_waits_until_the_other_has_ended(tmp_path):
    first, order, begun = writer_lock(tmp_path, ".labels.lock"), [], threading.Event()
    first.__enter__()

    def wait() -> None:
        begun.set()
        with writer_lock(tmp_path, ".labels.lock", patience_s=30.0):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        begun.wait(30)
        time.sleep(0.5)  # a writer without patience is refused by now
        order.append("first")
        first.__exit__(None, None, None)
        waiting.result(30)
    assert order == ["first", "second"]


def test_other_locks_of_a_folder_are_free(tmp_path):
    with writer_lock(tmp_path), writer_lock(tmp_path, ".labels.lock"):
        pass
