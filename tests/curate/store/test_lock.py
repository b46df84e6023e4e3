import os
import signal
import subprocess
import sys

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
