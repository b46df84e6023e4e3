"""Progress of long work on stderr: lines that rewrite themselves on a terminal, calm ones in a log, or JSON."""

import json
import shutil
import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TextIO


class Progress:
    """Says what a stage is doing. `every_s` is the shortest time between two reports."""

    def __init__(
        self, stage: str, stream: TextIO | None = None, every_s: float | None = None, *, as_json: bool = False
    ) -> None:
        self._stage = stage
        self._stream = stream or sys.stderr
        self._as_json = as_json
        self._is_terminal = self._stream.isatty() and not as_json
        self.every_s = every_s if every_s is not None else 0.25 if self._is_terminal else 1.0 if as_json else 10.0
        self._last = time.monotonic() - (self.every_s if self._is_terminal else 0.0)
        self._height = 0
        self._has_told = False

    def update(self, text: str) -> None:
        """Say how far the work is, unless something was just said."""
        self.lines([text], [{"text": text}])

    def lines(self, texts: Sequence[str], events: Sequence[Mapping[str, Any]]) -> None:
        """Say how far several things are, a line each, unless something was just said. events: the same as JSON."""
        now = time.monotonic()
        if now - self._last < self.every_s * 0.9:
            return
        self._last = now
        self._tell(texts, events)

    def last_lines(self, texts: Sequence[str], events: Sequence[Mapping[str, Any]]) -> None:
        """Say how far things came in the end, however short ago something was said; nothing if nothing was."""
        if self._has_told:
            self._tell(texts, events)

    def say(self, text: str) -> None:
        """Say something that must be seen, on a line of its own."""
        if self._as_json:
            self._write_events("note", [{"text": text}])
            return
        self._rub_out()
        self._stream.write(_printable(f"{self._stage}: {text}") + "\n")
        self._stream.flush()

    def _tell(self, texts: Sequence[str], events: Sequence[Mapping[str, Any]]) -> None:
        self._has_told = True
        if self._as_json:
            self._write_events("progress", events)
            return
        self._rub_out()
        width = shutil.get_terminal_size().columns - 1
        for text in texts:
            line = _printable(f"{self._stage}: {text}")
            self._stream.write((line[:width] if self._is_terminal else line) + "\n")
        self._height = len(texts) if self._is_terminal else 0
        self._stream.flush()

    def _rub_out(self) -> None:
        """Go back over the lines that were last written, and clear them."""
        if self._height:
            self._stream.write(f"\x1b[{self._height}A\x1b[J")
            self._height = 0

    def _write_events(self, kind: str, events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:  # in ASCII: a terminal obeys some of what JSON need not escape
            self._stream.write(json.dumps({"event": kind, "stage": self._stage, **event}) + "\n")
        self._stream.flush()


def _printable(text: str) -> str:
    """Without characters that a terminal obeys: model names and servers' words are not ours."""
    return "".join(one if unicodedata.category(one) not in {"Cc", "Cf"} else " " for one in text)
