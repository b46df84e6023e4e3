"""How far texts are apart, how often an Aligner copies, and what its losses say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CopyMeasures:
    """Measures on one kind of rows. Distances are word edits divided by the longer text's words, 0..1.

    exact_match: share of outputs equal to the reference correction. copy_rate: share equal to the answer.
    distance_to_correction: mean over outputs; copy_distance: the same for the copy baseline, which repeats the answer.
    """

    rows: int
    exact_match: float | None
    copy_rate: float | None
    distance_to_answer: float | None
    distance_to_correction: float | None
    copy_distance: float | None


def word_distance(one: str, other: str) -> float:
    """Levenshtein distance over words, divided by the longer text's words; 0..1, and 0 for two empty texts."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_distance(one.split(), other.split()))


def copy_measures(answers: Sequence[str], corrections: Sequence[str], outputs: Sequence[str]) -> CopyMeasures:
    """All measures on parallel lists; None where there are no rows."""
    rows = len(outputs)
    if not rows:
        return CopyMeasures(0, None, None, None, None, None)
    return CopyMeasures(
        rows=rows,
        exact_match=_mean([output == correction for output, correction in zip(outputs, corrections, strict=True)]),
        copy_rate=_mean([output == answer for output, answer in zip(outputs, answers, strict=True)]),
        distance_to_answer=_mean([word_distance(*both) for both in zip(outputs, answers, strict=True)]),
        distance_to_correction=_mean([word_distance(*both) for both in zip(outputs, corrections, strict=True)]),
        copy_distance=_mean([word_distance(*both) for both in zip(answers, corrections, strict=True)]),
    )


def loss_per_token(losses: Mapping[str, tuple[float, int]]) -> float | None:
    """Nats per target token over all rows, long rows counting more; None where there are no rows.

    losses: by row id the summed loss in nats and the target tokens.
    """
    tokens = sum(count for _, count in losses.values())
    return round(sum(loss for loss, _ in losses.values()) / tokens, 4) if tokens else None


def prefers_correction(
    corrections: Mapping[str, tuple[float, int]], copies: Mapping[str, tuple[float, int]], changed: Sequence[str]
) -> float | None:
    """Share of changed rows whose correction is likelier per token than the unchanged answer; None without rows."""
    if not changed:
        return None
    return _mean([_per_token(corrections[row_id]) < _per_token(copies[row_id]) for row_id in changed])


def _per_token(loss: tuple[float, int]) -> float:
    return loss[0] / max(1, loss[1])


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)
