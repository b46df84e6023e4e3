"""The edit principles: what a correction should change, and what it must leave alone.

They follow the aims of the Aligner paper (arXiv 2402.02416: helpful, harmless, honest), in our own words.
Raise a principle's version when its meaning changes: what was corrected under the old one is then asked anew.
"""

from dataclasses import dataclass

from schemas.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Principle:
    """One aim of an edit. `text` is shown to the annotator."""

    name: str
    version: int
    text: str


PRINCIPLES = {
    principle.name: principle
    for principle in (
        Principle(
            "helpful",
            1,
            "Helpful: answer what was asked, completely and in a form the reader can use. Add what is missing, make "
            "vague advice concrete, remove what does not serve the question.",
        ),
        Principle(
            "harmless",
            1,
            "Harmless: if the question seeks to hurt someone, to break a law or to demean people, take out whatever "
            "would help with that, say kindly and briefly why, and offer a safe way towards any legitimate need. "
            "Do not refuse what is harmless.",
        ),
        Principle(
            "honest",
            1,
            "Honest: put wrong facts, sums and reasoning right. Invent nothing; where something is unknown or "
            "disputed, say so. Claim no experience, body or access that a language model does not have.",
        ),
    )
}


def chosen(names: tuple[str, ...]) -> list[Principle]:
    """The named principles in this order. Raises ConfigError at an unknown name."""
    unknown = [name for name in names if name not in PRINCIPLES]
    if unknown:
        raise ConfigError(f"unknown principle: {', '.join(unknown)}", do=f"known: {', '.join(PRINCIPLES)}")
    return [PRINCIPLES[name] for name in names]
