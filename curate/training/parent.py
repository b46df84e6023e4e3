"""A process that does not outlive another. Loads nothing heavy: it must act before torch is imported."""

import ctypes
import os
import signal
import sys

PARENT = "CURATE_PARENT"
"""Variable with the process that this one must not outlive; without it, its parent at the start."""


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, even by -9: nobody else would stop it. Linux only."""
    if sys.platform == "linux":
        parent = int(os.environ.get(PARENT, os.getppid()))
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it died before this line
            os.kill(os.getpid(), signal.SIGKILL)
