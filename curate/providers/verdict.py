"""The one ruling on a raw reply: is it an answer, and if not, why not."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from curate.rules.refusal import REFUSAL
from schemas.errors import RequestError
from schemas.records import Completion


class Verdict(StrEnum):
    """What a raw reply is. Only `ok` and `refused` are answers."""

    OK = "ok"
    REFUSED = "refused"
    TRUNCATED = "truncated"
    FILTERED = "filtered"
    EMPTY = "empty"
    MALFORMED = "malformed"
    WRONG_MODEL = "wrong_model"


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict, the completion where the reply holds one, and what is wrong with it."""

    verdict: Verdict
    completion: Completion | None = None
    detail: str = ""

    @property
    def is_answer(self) -> bool:
        """Whether the completion's text is a whole answer; a refusal is one, too."""
        return self.verdict in {Verdict.OK, Verdict.REFUSED}


SNAPSHOT = re.compile(r"[-@:/.](?:\d{4}|\d{8}|\d{4}-\d{2}-\d{2}|latest|main)$")
"""How vendors name a dated state of a model: gpt-4-0613, claude-3-5-sonnet-20241022, gpt-4o-2024-08-06, path@main."""


def ruling(read: Callable[[bytes], Completion], response: bytes, asked_model: str | None = None) -> Ruling:
    """The ruling on a raw reply. asked_model: the name that the reply should report; None takes any.

    The order counts: a cut answer is truncated whatever it says, and a refusal is only looked for in whole answers.
    """
    try:
        completion = read(response)
    except RequestError as error:
        return Ruling(Verdict.MALFORMED, None, f"{error.kind}: {error.detail}")
    try:
        completion.text.encode("utf-8")
    except UnicodeEncodeError:
        return Ruling(Verdict.MALFORMED, completion, "invalid_unicode: the reply holds half of a surrogate pair")
    if asked_model is not None and not is_same_model(asked_model, completion.model):
        return Ruling(Verdict.WRONG_MODEL, completion, f"the reply is of {completion.model!r}, not of {asked_model!r}")
    if completion.finish_reason == "length":
        detail = f"cut off after {completion.output_tokens} tokens: raise max_tokens"
        return Ruling(Verdict.TRUNCATED, completion, detail)
    if completion.finish_reason == "other":
        detail = "the server did not end it as answers end (a tool call, an abort, a reason that is not known)"
        return Ruling(Verdict.TRUNCATED, completion, detail)
    is_blank = not completion.text.strip()
    if completion.finish_reason == "content_filter" or (completion.finish_reason == "refusal" and is_blank):
        return Ruling(Verdict.FILTERED, completion, completion.text[:300] or "the server filtered the reply")
    if is_blank:
        return Ruling(Verdict.EMPTY, completion, "the reply holds no text")
    if completion.finish_reason == "refusal" or REFUSAL.match(completion.text):
        return Ruling(Verdict.REFUSED, completion)
    return Ruling(Verdict.OK, completion)


def is_same_model(asked: str, reported: str) -> bool:
    """Whether a reported name means the model that was asked for: equal, a dated state of it, or its last path part.

    A name that ends in "latest" means any dated state. A server that reports nothing is believed.
    """
    if not reported or asked == "*":
        return True
    ours, theirs = asked.casefold(), reported.casefold()
    undated, their_undated = SNAPSHOT.sub("", ours), SNAPSHOT.sub("", theirs)
    same = {(ours, theirs), (ours, their_undated), (undated, theirs)}
    if ours.endswith("latest"):
        same.add((undated, their_undated))
    return any(one.rsplit("/", 1)[-1] == other.rsplit("/", 1)[-1] for one, other in same)
