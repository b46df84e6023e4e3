"""Marks of a template inside foreign text: written another way there, and back again in what the model returns."""

import re
import sys
from collections.abc import Sequence

ENTITY = re.compile(r"&((?:amp;)*)#([1-9]\d{0,6});")


class Marks:
    """The marks of one template. `escaped` makes a text that holds none of them; `restored` is its exact inverse.

    A mark's first character becomes its character reference (`<answer>` is shown as `&#60;answer>`), upper and lower
    case alike; a reference that the text holds already gets one `amp;` more.
    """

    def __init__(self, marks: Sequence[str]) -> None:
        self._first = {letter for mark in marks for letter in (mark[0].lower(), mark[0].upper())}
        by_length = sorted(marks, key=len, reverse=True)
        pattern = "|".join(f"{re.escape(mark[0])}(?={re.escape(mark[1:])})" for mark in by_length)
        self._mark = re.compile(pattern, re.IGNORECASE) if marks else None

    def escaped(self, text: str) -> str:
        """The text without any mark."""
        if self._mark is None:
            return text
        quoted = ENTITY.sub(self._quoted, text)
        return self._mark.sub(self._shown, quoted)

    def restored(self, text: str) -> str:
        """The text as it was before it was escaped."""
        return ENTITY.sub(self._unquoted, text)

    def are_in(self, text: str) -> bool:
        """Whether the text holds a mark."""
        return self._mark is not None and self._mark.search(text) is not None

    def _shown(self, found: re.Match[str]) -> str:
        """Letters that only count as alike, such as the long s, stay: no mark begins with them."""
        return f"&#{ord(found[0])};" if found[0] in self._first else found[0]

    def _is_ours(self, found: re.Match[str]) -> bool:
        return int(found[2]) <= sys.maxunicode and chr(int(found[2])) in self._first

    def _quoted(self, found: re.Match[str]) -> str:
        return f"&amp;{found[0][1:]}" if self._is_ours(found) else found[0]

    def _unquoted(self, found: re.Match[str]) -> str:
        if not self._is_ours(found):
            return found[0]
        return f"&{found[0][5:]}" if found[1] else chr(int(found[2]))
