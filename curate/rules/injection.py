"""Marks texts that give orders to the models that read them: a tag, because a text about orders is a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.rules.registry import rule

if TYPE_CHECKING:
    import polars as pl

ORDER = (
    r"(?i)\b(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{0,60}"
    r"\b(?:instructions?|rules?|prompts?|guidelines?|principles|directions)\b"
    r"|\b(?:new|updated|real|actual) (?:system )?(?:instructions?|rules?|prompt) ?:"
    r"|\b(?:dear|attention|note to|message (?:to|for)) (?:the )?(?:annotator|editor|reviewer|judge|critic|model|ai)\b"
    r"|<\|?(?:im_start|im_end|system|endoftext|begin_of_text)\|?>|\[/?INST\]|<<SYS>>"
)
"""English words, and the marks of chat formats."""

BEGINNINGS = (
    *("ignore", "disregard", "forget", "override", "bypass", "dear ", "note to", "attention ", "message "),
    *(
        f"{new} {what}"
        for new in ("new", "updated", "real", "actual")
        for what in ("instr", "system", "rule", "prompt")
    ),
    *("<|", "<im_", "<sys", "<endoftext", "<begin_of", "inst]", "<<sys"),
)
"""One of these stands in whatever `ORDER` finds: they are looked for all at once, in a tenth of its time."""


@rule(unit="places", version=1)
def orders(text: pl.Expr) -> pl.Expr:
    """Orders to ignore rules, words to annotators and marks of chat formats; an empty text scores 0."""
    return text.str.count_matches(ORDER)
