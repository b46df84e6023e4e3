"""What turns one text into another, word by word. Pure."""

import difflib
import re
from collections.abc import Iterator

MOST_COMPARED = 25_000_000
"""Words and blanks of one text times those of the other: more would take minutes, so only their ends are compared."""

WORD = re.compile(r"\s+|\w+|[^\w\s]")


def word_diff(old: str, new: str) -> Iterator[tuple[str, str]]:
    """Pieces (same, removed or added; text) that turn the old text into the new one, by words.

    Changes that only white space parts are one change: a rewritten clause reads as two texts, not word by word.
    """
    before, after = WORD.findall(old), WORD.findall(new)
    if len(before) * len(after) > MOST_COMPARED:
        yield from _by_ends(before, after)
        return
    removed, added = "", ""
    for what, start, end, new_start, new_end in difflib.SequenceMatcher(
        None, before, after, autojunk=False
    ).get_opcodes():
        gone, come = "".join(before[start:end]), "".join(after[new_start:new_end])
        if what != "equal" or (gone.isspace() and (removed or added) and end < len(before)):
            removed, added = removed + gone, added + come
            continue
        yield from _change(removed, added)
        removed, added = "", ""
        yield "same", gone
    yield from _change(removed, added)


def _by_ends(before: list[str], after: list[str]) -> Iterator[tuple[str, str]]:
    """What two very long texts begin and end with alike; all between counts as one change."""
    shorter = min(len(before), len(after))
    start = next((place for place in range(shorter) if before[place] != after[place]), shorter)
    rest = shorter - start
    end = next((place for place in range(rest) if before[-1 - place] != after[-1 - place]), rest)
    yield "same", "".join(before[:start])
    yield from _change("".join(before[start : len(before) - end]), "".join(after[start : len(after) - end]))
    yield "same", "".join(before[len(before) - end :])


def _change(removed: str, added: str) -> Iterator[tuple[str, str]]:
    if removed:
        yield "removed", removed
    if added:
        yield "added", added
