"""Marks of a template inside foreign text: written another way there, and back again in what the model returns."""

import re
from collections.abc import Sequence

ENTITY = re.compile(r"&((?:amp;)*)#(\d{1,3});")


class Marks:
    """The marks of one template. `escaped` makes a text that holds none of them; `restored` is its exact inverse.

    A mark's first character becomes its character reference (`<answer>` is shown as `&#60;answer>`), upper and lower
    case alike; a reference that the text holds already gets one `amp;` more.
    """

    def __init__(self, marks: Sequence[str]) -> None:
        self._first = {mark[0] for mark in marks}
        by_length = sorted(marks, key=len, reverse=True)
        pattern = "|".join(f"{re.escape(mark[0])}(?={re.escape(mark[1:])})" for mark in by_length)
        self._mark = re.compile(pattern, re.IGNORECASE) if marks else None

    def escaped(self, text: str) -> str:
        """The text without any mark."""
        if self._mark is None:
            return text
        quoted = ENTITY.sub(self._quoted, text)
        return self._mark.sub(lambda found: f"&#{ord(found[0])};", quoted)

    def restored(self, text: str) -> str:
        """The text as it was before it was escaped."""
        return ENTITY.sub(self._unquoted, text)

    def are_in(self, text: str) -> bool:
        """Whether the text holds a mark."""
        return self._mark is not None and self._mark.search(text) is not None

    def _is_ours(self, found: re.Match[str]) -> bool:
        return int(found[2]) < 128 and chr(int(found[2])) in self._first and not found[2].startswith("0")

    def _quoted(self, found: re.Match[str]) -> str:
        return f"&amp;{found[0][1:]}" if self._is_ours(found) else found[0]

    def _unquoted(self, found: re.Match[str]) -> str:
        if not self._is_ours(found):
            return found[0]
        return f"&{found[0][5:]}" if found[1] else chr(int(found[2]))
