"""What a person's annotation says, strictly read: the server takes wrong tags, choices and texts as well. Pure."""

from dataclasses import dataclass, field
from typing import Any

FINE, MINOR, MAJOR, REJECT = "fine", "minor", "major", "reject"
VERDICTS = (FINE, MINOR, MAJOR, REJECT)
REASONS = ("factual", "harmful", "incomplete", "tone", "format", "off_topic")
RATINGS = ("helpfulness", "harmlessness", "honesty")
HIGHEST = 5
KINDS = {
    "correction": "textarea",
    "verdict": "choices",
    "reasons": "choices",
    **dict.fromkeys(RATINGS, "rating"),
}
"""Each control of the screen and the kind of its result."""


class WrongAnnotationError(Exception):
    """An annotation that says nothing which could be used; the text tells why it goes to quarantine."""


@dataclass(frozen=True)
class Said:
    """A person's ruling. text: the correction, None where the pair was rejected; equal to the answer where it is fine.

    ratings: 1..5 of the answer, where given.
    """

    verdict: str
    text: str | None
    reasons: tuple[str, ...] = ()
    ratings: dict[str, int] = field(default_factory=dict)


def read_annotation(result: Any, answer: str, draft: str) -> Said:
    """The ruling in an annotation's `result`. Raises WrongAnnotationError.

    A repeated region counts once. "fine" means the answer byte for byte: an edited text beside it contradicts it, and
    so does an unchanged one beside minor or major.
    """
    found = _controls(result)
    verdict = _single(found, "verdict")
    if verdict is None:
        raise WrongAnnotationError("no verdict")
    if verdict not in VERDICTS:
        raise WrongAnnotationError(f"unknown verdict {verdict!r}"[:200])
    reasons = tuple(sorted(set(_strings(found.get("reasons"), "choices", "reasons"))))
    if foreign := [one for one in reasons if one not in REASONS]:
        raise WrongAnnotationError(f"unknown reason {foreign[0]!r}"[:200])
    ratings = {name: _rating(found[name], name) for name in RATINGS if name in found}
    if verdict == REJECT:
        return Said(verdict, None, reasons, ratings)
    text = _single(found, "correction")
    if verdict == FINE:
        if text is not None and _plain(text) not in {_plain(answer), _plain(draft)}:
            raise WrongAnnotationError("fine as it is, beside an edited text")
        return Said(verdict, answer, reasons, ratings)
    if text is None or not text.strip():
        raise WrongAnnotationError(f"{verdict} without a correction")
    if _plain(text) == _plain(answer):
        raise WrongAnnotationError(f"{verdict}, and the correction is the answer")
    return Said(verdict, text.strip(), reasons, ratings)


def _plain(text: str) -> str:
    """The text as a browser's text area gives it back once it was touched: every line ends in LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _controls(result: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(result, list):
        raise WrongAnnotationError("the result is no list")
    found: dict[str, dict[str, Any]] = {}
    for region in result:
        name = region.get("from_name") if isinstance(region, dict) else None
        if not isinstance(name, str) or name not in KINDS:
            raise WrongAnnotationError(f"a result of the unknown control {name!r}"[:200])
        if region.get("type") != KINDS[name] or region.get("to_name") != "answer":
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
    values = _strings(found[name], "text" if name == "correction" else "choices", name)
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
