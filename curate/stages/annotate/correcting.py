"""The calls that ask for critiques and corrections, and what came of them, pair by pair."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from curate.asking.chain import NOT_ASKED, Chain, Outcome
from curate.asking.work import ELSEWHERE, Ask, Call
from curate.config.annotating import AnnotateConfig
from curate.identity import content_id
from curate.ledger.journal import KnownFailure, Ledger
from curate.ledger.labels import Ruling
from curate.stages.annotate.recipes import Staff
from curate.store.run import RunStore
from schemas.records import CompletionRequest, CorrectionTask, Turn

if TYPE_CHECKING:
    import polars as pl

NAME = "annotate"
READ_PAIRS = 2_000
"""Pairs whose raw replies are in memory at once."""
Rulings = Mapping[tuple[str, str], Ruling]
PERSON, MODEL = "person", "model"
NO_REQUEST = CompletionRequest("", "", "", b"")
"""In the place of a call to people."""
NOBODY = KnownFailure("over_quota", "the quotas of all its annotators are full", 0)


def tasks(pairs: "pl.DataFrame") -> Iterator[CorrectionTask]:
    """The task that each pair is; `violations`, where there is such a column, are what the critic found."""
    columns = ["pair_id", "question", "answer", "turns", *(["violations"] if "violations" in pairs.columns else [])]
    for pair_id, question, answer, turns, *violations in pairs.select(columns).iter_rows():
        spoken = tuple(Turn(turn["role"], turn["text"]) for turn in turns)
        yield CorrectionTask(pair_id, question, answer, spoken, tuple(violations[0] or ()) if violations else ())


def critic_ask(staff: Staff, store: RunStore) -> Ask:
    """All calls of the critic: one for each pair."""
    critic = staff.critic
    if critic is None:
        raise AssertionError
    calls = (critic.call(task) for pairs in store.frames("dedup", "pairs") for task in tasks(pairs))
    return staff.ask(critic, calls, store.published("dedup").rows("pairs"))


Tag = tuple[str, str, float | None, str | None]
"""Row, rule, score and note of a verdict that keeps its row."""


def criticised(
    pairs: "pl.DataFrame", critic: "Chain[CorrectionTask, dict[str, str]] | None", ledger: Ledger
) -> "tuple[pl.DataFrame, list[Tag]]":
    """Pairs with `violations`, the rules that the critic found broken; null where there is no critique.

    Also rows of verdicts for the table: one tag for each broken rule, or that none is, or why there is no critique.
    """
    import polars as pl

    found: dict[str, Outcome[dict[str, str]]] = {}
    verdicts: list[Tag] = []
    if critic is not None:
        for some in pairs.iter_slices(READ_PAIRS):
            found |= critic.outcomes(ledger, {task.pair_id: task for task in tasks(some)})
    violations = [
        None if (one := found.get(pair_id)) is None or one.said is None else list(one.said)
        for pair_id in pairs["pair_id"].to_list()
    ]
    for pair_id, outcome in found.items():
        if outcome.said is None:
            detail = "" if outcome.failure is None else f"{outcome.failure.kind}: {outcome.failure.detail}"
            verdicts.append((pair_id, "critique.unread", None, detail))
        elif not outcome.said:
            verdicts.append((pair_id, "critique.clean", 0.0, None))
        else:
            broken = outcome.said.items()
            verdicts += [(pair_id, f"critique.{rule}", 1.0, reason or None) for rule, reason in broken]
    return pairs.with_columns(pl.Series("violations", violations, dtype=pl.List(pl.String))), verdicts


@dataclass(frozen=True)
class Corrected:
    """What came of some pairs: rows of candidates and of failures, and the tasks that wait."""

    candidates: list[Any] = field(default_factory=list)
    failures: list[Any] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)
    """Ids of pairs, and the people who are to correct them."""


class Corrections:
    """The plan of corrections: who is asked what, who comes next, and what the ledger holds of it."""

    def __init__(
        self, config: AnnotateConfig, staff: Staff, planned: "pl.DataFrame", rulings: Rulings | None = None
    ) -> None:
        """planned: pair_id, order, wanted of all pairs that are to be corrected, and `violations`.

        rulings: what people said, by pair and annotator.
        """
        self._config, self._staff, self._planned = config, staff, planned
        self._rulings = rulings or {}
        self._without: Counter[str] = Counter()

    def asks(self, store: RunStore) -> list[Ask]:
        """What each annotator who can be called is to be asked."""
        import polars as pl

        first = self._planned.select(pl.col("order").list.head(pl.col("wanted")))
        totals = dict(first["order"].explode().drop_nulls().value_counts().iter_rows())
        return [
            self._staff.ask(chain, self._calls(store, number), totals.get(number, 0), passes_on=self._config.fallback)
            for number, chain in enumerate(self._staff.annotators)
            if chain is not None
        ]

    def _calls(self, store: RunStore, number: int) -> Iterator[Call]:
        import polars as pl

        is_asked = pl.col("order").list.head(pl.col("wanted")).list.contains(pl.lit(number, pl.UInt8))
        for pairs in store.frames("dedup", "pairs"):
            for some in pairs.iter_slices(READ_PAIRS):
                for task, order, wanted in self._rows(some, is_asked):
                    yield self._call(number, task, order, wanted)

    def _rows(self, pairs: "pl.DataFrame", chosen: "pl.Expr") -> Iterator[tuple[CorrectionTask, list[int], int]]:
        """The chosen rows of some pairs that are to be corrected: task, order of annotators, how many are wanted."""
        joined = pairs.join(self._planned, on="pair_id", how="inner", maintain_order="left").filter(chosen)
        yield from zip(tasks(joined), joined["order"].to_list(), joined["wanted"].to_list(), strict=True)

    def _call(self, number: int, task: CorrectionTask, order: list[int], wanted: int) -> Call:
        chain = self._staff.annotators[number]
        if chain is None:
            raise AssertionError
        return chain.call(task, partial(self._next, task, order, wanted))

    def _next(self, task: CorrectionTask, order: list[int], wanted: int) -> tuple[int, Call] | None:
        """The pair's next annotator; those who are asked are always the first so many of its order."""
        place = wanted + self._without[task.pair_id]
        if not self._config.fallback or place >= len(order):
            return None
        self._without[task.pair_id] += 1
        chain = self._staff.annotators[order[place]]
        if chain is None:
            return ELSEWHERE, Call(NO_REQUEST)
        return chain.number, self._call(order[place], task, order, wanted)

    def outcomes(self, pairs: "pl.DataFrame", ledger: Ledger) -> Corrected:
        """What came of some pairs, in their order, each pair's annotators in its order."""
        import polars as pl

        corrected = Corrected()
        for some in pairs.iter_slices(READ_PAIRS):
            self._read(list(self._rows(some, pl.lit(value=True))), ledger, corrected)
        return corrected

    def _read(self, rows: list[tuple[CorrectionTask, list[int], int]], ledger: Ledger, corrected: Corrected) -> None:
        found: dict[tuple[int, int], Outcome[str] | Ruling | None] = {}
        places = [
            (row, place) for row, (_, order, wanted) in enumerate(rows) for place in range(min(wanted, len(order)))
        ]
        following = {row: wanted for row, (_, _, wanted) in enumerate(rows)}
        while places:
            outcomes = self._outcomes(rows, places, ledger)
            found |= outcomes
            places = []
            for (row, _), outcome in sorted(outcomes.items()):
                if self._config.fallback and isinstance(outcome, Outcome) and outcome.failure is not None:
                    if following[row] < len(rows[row][1]):
                        places.append((row, following[row]))
                    following[row] += 1
        for task, order, _ in rows:
            if not order:
                corrected.failures.append((task.pair_id, NAME, NOBODY.kind, NOBODY.detail, NOBODY.attempts))
        for (row, place), outcome in sorted(found.items()):
            task, number = rows[row][0], rows[row][1][place]
            self._note(task, number, outcome, corrected)

    def _outcomes(
        self, rows: list[tuple[CorrectionTask, list[int], int]], places: list[tuple[int, int]], ledger: Ledger
    ) -> Mapping[tuple[int, int], Outcome[str] | Ruling | None]:
        """None where people have not said anything yet."""
        outcomes: dict[tuple[int, int], Outcome[str] | Ruling | None] = {}
        by_number: dict[int, dict[tuple[int, int], CorrectionTask]] = {}
        for row, place in places:
            by_number.setdefault(rows[row][1][place], {})[row, place] = rows[row][0]
        for number, asked in by_number.items():
            chain, name = self._staff.annotators[number], self._config.annotators[number].name
            if chain is None:
                outcomes |= {key: self._rulings.get((task.pair_id, name)) for key, task in asked.items()}
            else:
                outcomes |= chain.outcomes(ledger, asked)
        return outcomes

    def _note(
        self, task: CorrectionTask, number: int, outcome: Outcome[str] | Ruling | None, corrected: Corrected
    ) -> None:
        name = self._config.annotators[number].name
        if outcome is None:
            corrected.waiting.append((task.pair_id, name))
        elif isinstance(outcome, Ruling):
            self._note_ruling(task, name, outcome, corrected)
        elif outcome.said is None:
            failure = outcome.failure or NOT_ASKED
            corrected.failures.append((f"{task.pair_id}:{name}", NAME, failure.kind, failure.detail, failure.attempts))
        else:
            told = self._staff.recipes.get(name)
            corrected.candidates.append(
                (
                    *(content_id("correction", task.pair_id, name, outcome.said), task.pair_id, name, MODEL),
                    outcome.said,
                    *((None, None) if told is None else (told.template_id, told.principles_id)),
                    *(outcome.request_id, None, None),
                )
            )

    def _note_ruling(self, task: CorrectionTask, name: str, ruling: Ruling, corrected: Corrected) -> None:
        """A person's correction, or a pair that a person rejected: nobody else is asked about that one."""
        if ruling.text is None:
            why = f"rejected by {ruling.person}: {', '.join(ruling.reasons) or 'no reason given'}"
            corrected.failures.append((f"{task.pair_id}:{name}", NAME, "rejected", why, 1))
            return
        corrected.candidates.append(
            (
                *(content_id("correction", task.pair_id, name, ruling.text), task.pair_id, name, PERSON, ruling.text),
                *(None, None, None, f"{ruling.title}:{ruling.annotation_id}:{ruling.person}", ruling.seconds),
            )
        )
