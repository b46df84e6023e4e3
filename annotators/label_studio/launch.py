"""Runs `label-studio` inside the server's own environment, and ends it when the process that started it dies.

Arguments: the process id of the parent, then what `label-studio` takes.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Let the kernel send TERM to this process when its parent dies (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the kernel was asked
            sys.exit(1)


if __name__ == "__main__":
    end_with(int(sys.argv.pop(1)))

    from label_studio.server import main

    sys.exit(main())
