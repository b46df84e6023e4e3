"""How results look: tables of plain text, JSON, errors; text from models is shown without its control characters."""

import json
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from annotators.word_diff import word_diff
from schemas.errors import CurateError

COLOURS = {"removed": typer.colors.RED, "added": typer.colors.GREEN}
MARKS = {"removed": ("[-", "-]"), "added": ("{+", "+}"), "same": ("", "")}


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_error(error: CurateError, *, as_json: bool) -> None:
    """The error on stderr, and as one JSON object on stdout where JSON was asked for."""
    if as_json:
        print_json({"error": type(error).__name__, "what": error.what, "do": error.do})
    sys.stderr.write(f"error: {visible(str(error))}\n")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns of plain text; numbers stand on the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(header), *cells]) for column in range(len(header))]
    is_number = [all(_is_number(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in [list(header), *cells]
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def visible(text: str) -> str:
    """Text without characters that a terminal obeys: control and direction characters become their names' hex."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf"}
        else f"\\x{ord(character):02x}"
        for character in text
    )


def diff_text(old: str, new: str) -> str:
    """A word diff: [-removed-]{+added+}, in colour on a terminal."""
    pieces = []
    for what, text in word_diff(visible(old), visible(new)):
        before, after = MARKS[what]
        marked = before + text + after
        pieces.append(typer.style(marked, fg=COLOURS[what]) if what in COLOURS and sys.stdout.isatty() else marked)
    return "".join(pieces)


def paragraph(label: str, text: str, width: int = 100) -> str:
    """A labelled text, wrapped and indented."""
    wrapped = [line for part in text.splitlines() or [""] for line in textwrap.wrap(part, width) or [""]]
    return "\n".join(f"{label if number == 0 else '':<11}{line}".rstrip() for number, line in enumerate(wrapped))


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "" if value is None else visible(str(value))


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").lstrip("-").isdigit() or not text
