"""The one ruling on a raw reply: is it an answer, and if not, why not."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

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


REFUSAL = re.compile(
    r"(?i)^[\s\"'*]*(?:(?:oh|well|hello|hi)[,.!]?\s+)?"
    r"(?:(?:i(?:['’]m| am)\s+(?:very\s+|so\s+|truly\s+|really\s+)?sorry|sorry|(?:my\s+)?apologies|i apologi[sz]e)\b"
    r"[^.!?\n]{0,40}?[,.;:–—-]?\s*(?:but\s+|however,?\s+)?(?:as an? [^.,\n]{1,60},\s*)?)?"
    r"(?:as an? (?:ai|artificial|language|large|responsible|ethical)[^.,\n]{0,60},?\s*)?"
    r"(?:i(?:['’]m| am)\s+(?:not able|unable|not allowed|not permitted|not programmed|not comfortable|not going)\b"
    r"|i\s+(?:can(?:no|['’])?t|cannot|can not|won['’]t|will not|(?:have to|must) (?:refuse|decline)"
    r"|refuse|decline|do not|don['’]t feel comfortable|should not|shouldn['’]t)\s*"
    r"(?:in good conscience\s+|ethically\s+|really\s+|possibly\s+)?"
    r"(?:help|assist|provide|comply|fulfill|fulfil|support|engage|participate|answer|create|write|generate|give|offer"
    r"|discuss|encourage|condone|promote|share|do that|satisfy|recommend|suggest|advise|continue|feel comfortable)\b"
    r"|it (?:is|would be|['’]s) (?:not appropriate|inappropriate|unethical|illegal)(?: or \w+)? (?:for me )?to\b)"
)
"""How models begin when they decline: an apology or not, then that they cannot, will not or should not do it. English.

Measured on the answers of the recorded data: docs/generate.md says how many it finds and how many of those are wrong.
"""

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
    is_blank = not completion.text.strip()
    if completion.finish_reason == "content_filter" or (completion.finish_reason == "refusal" and is_blank):
        return Ruling(Verdict.FILTERED, completion, completion.text[:300] or "the server filtered the reply")
    if is_blank:
        return Ruling(Verdict.EMPTY, completion, "the reply holds no text")
    if completion.finish_reason == "refusal" or REFUSAL.match(completion.text):
        return Ruling(Verdict.REFUSED, completion)
    return Ruling(Verdict.OK, completion)


def is_same_model(asked: str, reported: str) -> bool:
    """Whether a reported name means the model that was asked for: equal, or a dated state of it, or its last path part.

    A server that reports nothing is believed.
    """
    if not reported or asked == "*":
        return True
    ours, theirs = asked.casefold(), reported.casefold()
    if ours == theirs or SNAPSHOT.sub("", theirs) == ours or SNAPSHOT.sub("", ours) == theirs:
        return True
    return ours.rsplit("/", 1)[-1] == theirs.rsplit("/", 1)[-1]
