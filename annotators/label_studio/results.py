"""What a person's annotation says, strictly read: the server takes wrong tags, choices and texts as well. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotators.label_studio.screens import Step
from annotators.label_studio.tasks import restored, storable

FINE, MINOR, MAJOR, REJECT = "fine", "minor", "major", "reject"
VERDICTS = (FINE, MINOR, MAJOR, REJECT)
REASONS = ("factual", "harmful", "incomplete", "tone", "format", "off_topic")
RATINGS = ("helpfulness", "harmlessness", "honesty")
HIGHEST = 5
ACCEPT, SEND_BACK = "accept", "send_back"
INSPECTIONS = (ACCEPT, REJECT, SEND_BACK)
OWN, TEXT = "own", "text_"
Controls = Mapping[str, str]
CORRECTING: Controls = {
    "correction": "textarea",
    "verdict": "choices",
    "reasons": "choices",
    **dict.fromkeys(RATINGS, "rating"),
}
"""Each control of the screen and the kind of its result."""
INSPECTING: Controls = {"inspection": "choices", "note": "textarea"}
ADJUDICATING: Controls = {"decision": "choices", "own": "textarea"}


class WrongAnnotationError(Exception):
    """An annotation that says nothing which could be used; the text tells why it goes to quarantine."""


@dataclass(frozen=True)
class Said:
    """A person's ruling. text: the correction, None where the pair was rejected; equal to the answer where it is fine.

    ratings: 1..5 of the answer, where given. Of an inspection: ACCEPT, REJECT or SEND_BACK, and the note. Of a
    decision: `text_2` for the second text, REJECT, or OWN and that text.
    """

    verdict: str
    text: str | None
    reasons: tuple[str, ...] = ()
    ratings: dict[str, int] = field(default_factory=dict)


def read_annotation(step: Step, result: Any, kept: str, draft: str, texts: int = 0) -> Said:
    """The ruling in an annotation's `result`. Raises WrongAnnotationError.

    kept: what "fine" keeps. texts: how many there were to choose from. A repeated region counts once.
    """
    if step is Step.INSPECT:
        return _inspection(_controls(result, INSPECTING))
    if step is Step.ADJUDICATE:
        return _decision(_controls(result, ADJUDICATING), kept, texts)
    return _correction(_controls(result, CORRECTING), kept, draft)


def _correction(found: dict[str, dict[str, Any]], kept: str, draft: str) -> Said:
    """Fine means the kept text byte for byte: an edited text beside it contradicts it, and so does an unchanged one
    beside minor or major.
    """
    verdict = _choice(found, "verdict", VERDICTS)
    reasons = tuple(sorted(set(_strings(found.get("reasons"), "choices", "reasons"))))
    if foreign := [one for one in reasons if one not in REASONS]:
        raise WrongAnnotationError(f"unknown reason {foreign[0]!r}"[:200])
    ratings = {name: _rating(found[name], name) for name in RATINGS if name in found}
    if verdict == REJECT:
        return Said(verdict, None, reasons, ratings)
    text = _single(found, "correction")
    if verdict == FINE:
        if text is not None and _shown(text) not in {_shown(kept), _shown(draft)}:
            raise WrongAnnotationError("fine as it is, beside an edited text")
        return Said(verdict, kept, reasons, ratings)
    if text is None or not text.strip():
        raise WrongAnnotationError(f"{verdict} without a correction")
    if _shown(text) == _shown(kept):
        raise WrongAnnotationError(f"{verdict}, and the correction is the text that it finds fault with")
    return Said(verdict, restored(text.strip(), kept), reasons, ratings)


def _shown(text: str) -> str:
    """The text as a browser's text area gives it back once it was touched: every line ends in LF."""
    return storable(text).replace("\r\n", "\n").replace("\r", "\n").strip()


def _inspection(found: dict[str, dict[str, Any]]) -> Said:
    return Said(_choice(found, "inspection", INSPECTIONS), (_single(found, "note") or "").strip() or None)


def _decision(found: dict[str, dict[str, Any]], kept: str, texts: int) -> Said:
    numbers = [f"{TEXT}{number}" for number in range(1, texts + 1)]
    decision = _choice(found, "decision", (*numbers, OWN, REJECT))
    own = (_single(found, "own") or "").strip() or None
    if decision == OWN and own is None:
        raise WrongAnnotationError("own, without a text")
    return Said(decision, restored(own, kept) if decision == OWN and own is not None else None)


def _choice(found: dict[str, dict[str, Any]], name: str, allowed: tuple[str, ...]) -> str:
    chosen = _single(found, name)
    if chosen is None:
        raise WrongAnnotationError(f"no {name}")
    if chosen not in allowed:
        raise WrongAnnotationError(f"unknown {name} {chosen!r}"[:200])
    return chosen


def _controls(result: Any, kinds: Controls) -> dict[str, dict[str, Any]]:
    if not isinstance(result, list):
        raise WrongAnnotationError("the result is no list")
    found: dict[str, dict[str, Any]] = {}
    for region in result:
        name = region.get("from_name") if isinstance(region, dict) else None
        if not isinstance(name, str) or name not in kinds:
            raise WrongAnnotationError(f"a result of the unknown control {name!r}"[:200])
        if region.get("type") != kinds[name] or region.get("to_name") != "answer":
            raise WrongAnnotationError(f"the result of {name} is of another kind or object")
        value = region.get("value")
        if not isinstance(value, dict):
            raise WrongAnnotationError(f"the result of {name} has no value")
        if name in found and found[name] != value:
            raise WrongAnnotationError(f"two different results of {name}")
        found[name] = value
    return found


def _single(found: dict[str, dict[str, Any]], name: str) -> str | None:
    if name not in found:
        return None
    values = _strings(found[name], "choices" if "choices" in found[name] else "text", name)
    if len(set(values)) != 1:
        raise WrongAnnotationError(f"{len(values)} values of {name}")
    return values[0]


def _strings(value: dict[str, Any] | None, key: str, name: str) -> list[str]:
    if value is None:
        return []
    texts = value.get(key)
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise WrongAnnotationError(f"the value of {name} is no text")
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise WrongAnnotationError(f"the value of {name} holds half of a surrogate pair") from error
    return texts


def _rating(value: dict[str, Any], name: str) -> int:
    rating = value.get("rating")
    if type(rating) is not int or not 1 <= rating <= HIGHEST:
        raise WrongAnnotationError(f"the rating of {name} is {rating!r}"[:200])
    return rating
