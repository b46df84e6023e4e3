"""Which of several corrections of one pair wins. Pure: texts in, a position out."""

from collections.abc import Mapping, Sequence

COMPARED = 10_000
"""Characters of each text that are compared: the cost grows with their product, 3 ms for two texts of these."""


def by_vote(answer: str, corrections: Sequence[str], weights: Sequence[float]) -> tuple[int, float]:
    """Position of the winner, and its mean similarity to the others (0..1, Levenshtein over the longer text).

    First the majority says whether anything changes at all (a draw means yes); of those corrections the one wins that
    is most like the others, then the one of greater weight, then the first.
    """
    is_changed = [text != answer for text in corrections]
    changes = sum(is_changed) * 2 >= len(corrections)
    like = [_likeness(corrections, place) for place in range(len(corrections))]
    allowed = [place for place, changed in enumerate(is_changed) if changed == changes]
    winner = max(allowed, key=lambda place: (like[place], weights[place], -place))
    return winner, like[winner]


def by_preference(
    names: Sequence[str], preferred: Mapping[tuple[str, str], float], weights: Sequence[float]
) -> tuple[int, float]:
    """Position of the winner, and its mean preference over the others (-1..1).

    preferred: of two names, in alphabetical order, how much the first is better; a missing one counts 0. Draws go to
    the greater weight, then to the first.
    """
    scores = []
    for name in names:
        over = [
            preferred.get((name, other), 0.0) if name < other else -preferred.get((other, name), 0.0)
            for other in names
            if other != name
        ]
        scores.append(sum(over) / len(over))
    winner = max(range(len(names)), key=lambda place: (scores[place], weights[place], -place))
    return winner, scores[winner]


def _likeness(texts: Sequence[str], place: int) -> float:
    from rapidfuzz.distance import Levenshtein

    others = [text[:COMPARED] for other, text in enumerate(texts) if other != place]
    one = texts[place][:COMPARED]
    return sum(Levenshtein.normalized_similarity(one, other) for other in others) / len(others)
