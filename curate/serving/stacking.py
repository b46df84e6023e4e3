"""One Aligner after the other over a batch of questions and answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from curate.training.aligner import Aligner
from curate.training.drafting import Written, write
from curate.training.tokens import token_rows
from curate.training.writing import text_of

FAULTS = (RuntimeError, ValueError, IndexError, TypeError, MemoryError)
"""What torch, transformers and tokenizers raise for one bad row or a full memory."""

USUAL_TOKENS = 4096
"""What a model reads and writes together, where its configuration does not say."""

BATCH_TOKENS = 16_384
"""Padded tokens of a first pass, prompts and drafts, at most."""

LOGITS_BYTES = 2 << 30
"""Of a first pass in float32, which draws a word's likelihood at each place of a draft."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What an Aligner is to read."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Corrected:
    """The correction, or why there is none."""

    text: str
    failure: str = ""


def correct_all(aligners: Sequence[Aligner], rows: Sequence[Shown], new_tokens_at_most: int) -> list[Corrected]:
    """The correction of each row, in order; each Aligner reads what the one before wrote.

    Failures: `invalid_unicode`, `too_long` (prompt and correction may not fit the model), `cut` (the correction did not
    end in time), `empty`, `failed` (the model broke on this row alone, too).
    """
    found = {number: Corrected(row.answer) for number, row in enumerate(rows)}
    for aligner in aligners:
        numbers = [number for number, one in found.items() if not one.failure]
        shown = [Shown(rows[number].question, found[number].text) for number in numbers]
        found.update(zip(numbers, _corrected(aligner, shown, new_tokens_at_most), strict=True))
    return list(found.values())


def _corrected(aligner: Aligner, rows: Sequence[Shown], new_tokens_at_most: int) -> list[Corrected]:
    """Corrections by one Aligner; where a batch breaks, its rows are tried one by one."""
    try:
        return _batch(aligner, rows, new_tokens_at_most)
    except FAULTS:
        if len(rows) > 1:
            return [one for row in rows for one in _corrected(aligner, [row], new_tokens_at_most)]
        return [Corrected("", "failed" if _is_unicode(rows[0]) else "invalid_unicode")]


def _batch(aligner: Aligner, rows: Sequence[Shown], new_tokens_at_most: int) -> list[Corrected]:
    positions = getattr(aligner.model.config, "max_position_embeddings", USUAL_TOKENS)
    new_tokens = min(new_tokens_at_most, positions // 2)
    characters = (positions - new_tokens) * _longest_token(aligner.tokenizer)
    shown = {str(number): row for number, row in enumerate(rows) if len(row.question) + len(row.answer) <= characters}
    prompts = [aligner.template.prompt(row.question, row.answer) for row in shown.values()]
    drafts = {number: aligner.template.target(row.answer) for number, row in shown.items()}
    tokens = token_rows(aligner.tokenizer, list(drafts), prompts, list(drafts.values()))
    fitting = [row for row in tokens if row.prompt_tokens + new_tokens <= positions]
    found = [Corrected("", "too_long")] * len(rows)
    at_once = max(1, min(BATCH_TOKENS, LOGITS_BYTES // (4 * len(aligner.tokenizer))))
    for batch in write(aligner.model, fitting, new_tokens, at_once):
        for one in batch:
            found[int(one.row_id)] = _judged(aligner, one, shown[one.row_id].answer, drafts[one.row_id])
    return found


@lru_cache
def _longest_token(tokenizer: Any) -> int:
    """Characters of the longest token. More than so many a token cannot fit, and a huge text need not be tokenised."""
    return max(len(token) for token in tokenizer.get_vocab())


def _judged(aligner: Aligner, written: Written, answer: str, draft: str) -> Corrected:
    if not written.has_ended:
        return Corrected("", "cut")
    if written.is_unchanged:
        return Corrected(answer)
    text = text_of(aligner.tokenizer, written, draft)
    return Corrected(aligner.template.written(text)) if text.strip() else Corrected("", "empty")


def _is_unicode(row: Shown) -> bool:
    """Whether the texts hold no half of a surrogate pair, which no tokenizer takes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in row.question + row.answer)
