"""What a model's reply says: strictly read, never guessed. What cannot be read is a RequestError and is asked again."""

from collections.abc import Callable, Collection

import msgspec

from annotators.template import Template
from schemas.errors import RequestError

OPENING, CLOSING, UNCHANGED = "<correction>", "</correction>", "<unchanged/>"
AXES = ("helpful", "harmless", "honest", "overall")
BETTER = {"first": 1, "same": 0, "second": -1}
SCHEMA = {
    "type": "object",
    "properties": {"unchanged": {"type": "boolean"}, "correction": {"type": "string"}},
    "required": ["unchanged", "correction"],
    "additionalProperties": False,
}
"""Of a structured correction, as providers take it."""


class _Structured(msgspec.Struct, forbid_unknown_fields=True):
    unchanged: bool
    correction: str


def read_edit(template: Template, reply: str) -> str | None:
    """The edited text in a reply to a correcting template; None where the reply says that nothing changes.

    White space at its ends is the model's and is cut. Raises RequestError of kind unmarked_correction,
    ambiguous_correction, empty_correction or contradictory_correction.
    """
    text = READERS[template.reply](template, reply)
    if text is not None and not text.strip():
        raise RequestError("empty_correction", "the marks hold no text")
    return None if text is None else text.strip()


def _tagged(_template: Template, reply: str) -> str | None:
    if reply.strip() == UNCHANGED:
        return None
    if reply.count(OPENING) > 1 or reply.count(CLOSING) > 1:
        raise RequestError("ambiguous_correction", f"{OPENING} or {CLOSING} stands there twice: {_start(reply)}")
    before, opening, rest = reply.partition(OPENING)
    text, closing, after = rest.partition(CLOSING)
    if not opening or not closing:
        raise RequestError("unmarked_correction", f"no {OPENING}…{CLOSING} in the reply: {_start(reply)}")
    if UNCHANGED in before + text + after:
        raise RequestError("contradictory_correction", f"{UNCHANGED} and an edit: {_start(reply)}")
    return text


def _bracketed(template: Template, reply: str) -> str | None:
    """[[ … ]] after the one marker, to the very end; code inside may hold brackets, but no second [[ … ]]."""
    parts = reply.split(template.marker)
    if len(parts) > 2:
        raise RequestError("ambiguous_correction", f"{template.marker} stands there twice: {_start(reply)}")
    edit = parts[-1].strip()
    if len(parts) < 2 or len(edit) < 4 or not edit.startswith("[[") or not edit.endswith("]]"):
        raise RequestError("unmarked_correction", f"no {template.marker} [[…]] at the reply's end: {_start(reply)}")
    text = edit[2:-2]
    depth = place = 0
    while place < len(text):
        two = text[place : place + 2]
        depth += (two == "[[") - (two == "]]")
        place += 2 if two in {"[[", "]]"} else 1
        if depth < 0 and "[[" in text[place:]:
            raise RequestError("ambiguous_correction", f"more than one [[…]] in the reply: {_start(reply)}")
    if depth > 0:
        raise RequestError("ambiguous_correction", f"[[ without its ]] in the reply: {_start(reply)}")
    return text


def _json(_template: Template, reply: str) -> str | None:
    try:
        said = msgspec.json.decode(reply, type=_Structured)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise RequestError(
            "unmarked_correction", f"not the JSON that was asked for: {error}: {_start(reply)}"
        ) from error
    if said.unchanged and said.correction.strip():
        raise RequestError("contradictory_correction", f'"unchanged" is true beside an edit: {_start(reply)}')
    return None if said.unchanged else said.correction


READERS: dict[str, Callable[[Template, str], str | None]] = {"tagged": _tagged, "bracketed": _bracketed, "json": _json}


def read_violations(reply: str, known: Collection[str]) -> dict[str, str]:
    """The rules that a critic names, in its order, each with the reason. Raises RequestError."""
    found: dict[str, str] = {}
    for line in _between(reply, "violations").splitlines():
        name, colon, reason = (part.strip() for part in line.partition(":"))
        if not name and not colon:
            continue
        if name not in known:
            raise RequestError("unknown_rule", f"{name[:80]!r} is no rule: {_start(reply)}")
        found.setdefault(name, reason)
    return found


def read_verdicts(reply: str) -> dict[str, int]:
    """For helpful, harmless, honest and overall: 1 where the first text is better, -1 where the second is, else 0.

    Raises RequestError.
    """
    found: dict[str, int] = {}
    for line in _between(reply, "verdict").splitlines():
        axis, _, word = (part.strip().lower() for part in line.partition(":"))
        if not axis:
            continue
        if axis not in AXES or axis in found or word not in BETTER:
            raise RequestError("unreadable_verdict", f"{line.strip()[:80]!r} is no verdict: {_start(reply)}")
        found[axis] = BETTER[word]
    if missing := [axis for axis in AXES if axis not in found]:
        raise RequestError("unreadable_verdict", f"no verdict on {', '.join(missing)}: {_start(reply)}")
    return found


def _between(reply: str, name: str) -> str:
    before, opening, rest = reply.partition(f"<{name}>")
    text, closing, after = rest.partition(f"</{name}>")
    if not opening or not closing or before.strip() or after.strip():
        raise RequestError("unmarked_reply", f"not <{name}>…</{name}> alone: {_start(reply)}")
    return text


def _start(reply: str) -> str:
    return repr(reply[:300])
