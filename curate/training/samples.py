"""Sample corrections while an Aligner learns: what it writes for the same few held-out rows at each evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotators.word_diff import word_diff
from curate.training.drafting import write
from curate.training.ranks import ALONE, Ranks
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


@dataclass(frozen=True, slots=True)
class Shown:
    """What is asked at each evaluation. rows: those whose target is the answer. answers: of each row, by id."""

    rows: Sequence[TokenRow] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    max_new_tokens: int = 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """Who asks it, and how."""

    shown: Shown
    tokenizer: Any
    template: Template
    tokens_per_batch: int

    def write(self, model: Any, phase: str, step: int, epoch: int, ranks: Ranks = ALONE) -> list[Sample]:
        """The samples in the order of their ids, greedily; the model is left in evaluation."""
        if not self.shown.rows:
            return []
        batches = write(model, self.shown.rows, self.shown.max_new_tokens, self.tokens_per_batch, ranks)
        written = sorted((one for batch in batches for one in batch), key=lambda one: one.row_id)
        drafts = (self.template.target(self.shown.answers[one.row_id]) for one in written)
        texts = (text_of(self.tokenizer, one, draft) for one, draft in zip(written, drafts, strict=True))
        return [
            Sample(phase, step, epoch, one.row_id, self.template.written(text), one.has_ended)
            for one, text in zip(written, texts, strict=True)
        ]


def shown(
    rows: Sequence[TokenRow], copies: Sequence[TokenRow], answers: Mapping[str, str], count: int, max_tokens: int
) -> Shown:
    """So many of the rows that are held out, given in both forms.

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
    return Shown(chosen, {row.row_id: answers[row.row_id] for row in chosen}, min(longest + SPARE, max_tokens))


def in_a_line(answer: str, correction: str) -> str:
    """What was changed, as a word diff that is short enough to be read in passing."""
    pieces = []
    for what, text in word_diff(answer, correction):
        before, after = MARKS[what]
        is_long = what == "same" and len(text) > 3 * AROUND
        pieces.append(before + (f"{text[:AROUND]} … {text[-AROUND:]}" if is_long else text) + after)
    line = " ".join("".join(pieces).split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"
