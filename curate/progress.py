"""Progress of long work on stderr: a line that rewrites itself on a terminal, a calm line now and then in a log."""

import sys
import time
from typing import TextIO


class Progress:
    """Says what a stage is doing. `every_s` is the shortest time between two lines in a log."""

    def __init__(self, stage: str, stream: TextIO | None = None, every_s: float = 10.0) -> None:
        self._stage = stage
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._every_s = 0.1 if self._is_terminal else every_s
        self._last = time.monotonic() - (self._every_s if self._is_terminal else 0.0)
        self._width = 0

    def update(self, text: str) -> None:
        """Say how far the work is, unless something was just said."""
        now = time.monotonic()
        if now - self._last < self._every_s:
            return
        self._last = now
        line = f"{self._stage}: {text}"
        if self._is_terminal:
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """Say something that must be seen, on a line of its own."""
        if self._is_terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0
        self._stream.write(f"{self._stage}: {text}\n")
        self._stream.flush()
