"""Sample corrections while an Aligner learns: what it writes for the same few held-out rows at each evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotators.word_diff import word_diff
from curate.training.aligner import Aligner
from curate.training.drafting import write
from curate.training.settings import Settings
from curate.training.templates import Template
from curate.training.tokens import TokenRow
from curate.training.writing import text_of

SPARE = 32
"""Tokens that a sample may be longer than the longest of the answers and corrections of its rows."""

MARKS = {"removed": ("[-", "-]"), "added": ("{+", "+}"), "same": ("", "")}
SHOWN, AROUND = 300, 24
"""Characters of a sample in a line of progress, at most, and of what stays around a change."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A correction that the Aligner wrote for a row after a step. has_ended: False where it was cut."""

    phase: str
    step: int
    epoch: int
    triple_id: str
    aligner_correction: str
    has_ended: bool


@dataclass(frozen=True)
class Sampling:
    """What is asked at each evaluation. rows: those whose target is the answer. answers: of each row, by id."""

    tokenizer: Any
    template: Template
    rows: Sequence[TokenRow]
    answers: Mapping[str, str]
    max_new_tokens: int
    tokens_per_batch: int

    def write(self, model: Any, phase: str, step: int, epoch: int) -> list[Sample]:
        """The samples in the order of their ids, greedily; the model is left in evaluation."""
        batches = write(model, self.rows, self.max_new_tokens, self.tokens_per_batch) if self.rows else ()
        written = sorted((one for batch in batches for one in batch), key=lambda one: one.row_id)
        texts = (text_of(self.tokenizer, one, self.template.target(self.answers[one.row_id])) for one in written)
        return [
            Sample(phase, step, epoch, one.row_id, self.template.written(text), one.has_ended)
            for one, text in zip(written, texts, strict=True)
        ]


def sampling_of(
    aligner: Aligner,
    rows: Sequence[TokenRow],
    copies: Sequence[TokenRow],
    answers: Mapping[str, str],
    settings: Settings,
) -> Sampling:
    """What a training asks. rows, copies: those held out, in both forms. answers: of all of them, by id."""
    chosen, max_new_tokens = sampled(rows, copies, settings.samples, settings.max_tokens)
    return Sampling(aligner.tokenizer, aligner.template, chosen, answers, max_new_tokens, settings.tokens_per_batch)


def sampled(
    rows: Sequence[TokenRow], copies: Sequence[TokenRow], count: int, max_tokens: int
) -> tuple[list[TokenRow], int]:
    """The copies of the rows that are shown, and how many tokens one may take.

    Half of them, or one more, are rows to change, the others rows to leave; first by id. Where there are too few
    of one kind, the other fills up. A model that only copies is thus seen to copy.
    """
    kinds: tuple[list[TokenRow], list[TokenRow]] = ([], [])
    targets = {row.row_id: row for row in rows}
    for copy in sorted(copies, key=lambda row: row.row_id):
        kinds[copy.ids == targets[copy.row_id].ids].append(copy)
    changed, same = kinds
    from_changed = max(min(len(changed), (count + 1) // 2), count - len(same))
    chosen = sorted([*changed[:from_changed], *same[: count - from_changed]], key=lambda row: row.row_id)
    longest = max((max(one.target_tokens, targets[one.row_id].target_tokens) for one in chosen), default=0)
    return chosen, min(longest + SPARE, max_tokens)


def in_a_line(answer: str, correction: str) -> str:
    """What was changed, as a word diff that is short enough to be read in passing."""
    pieces = []
    for what, text in word_diff(answer, correction):
        before, after = MARKS[what]
        is_long = what == "same" and len(text) > 3 * AROUND
        pieces.append(before + (f"{text[:AROUND]} … {text[-AROUND:]}" if is_long else text) + after)
    line = " ".join("".join(pieces).split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"
