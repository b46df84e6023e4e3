"""The calls that ask for critiques and corrections, and what came of them, pair by pair."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from annotators.label_studio.screens import FIRST
from curate.asking.chain import NOT_ASKED, Chain, Outcome
from curate.asking.work import ELSEWHERE, Ask, Call
from curate.config.annotating import AnnotatorConfig
from curate.config.model import Pipeline
from curate.identity import content_id
from curate.labelling.workflow import Standing
from curate.ledger.journal import KnownFailure, Ledger
from curate.ledger.labels import Ruling, Rulings
from curate.stages.annotate.recipes import PEOPLE, Staff
from curate.stages.annotate.standings import standings
from curate.store.run import RunStore
from schemas.records import CompletionRequest, CorrectionTask, Turn

if TYPE_CHECKING:
    import polars as pl

NAME = "annotate"
READ_PAIRS = 2_000
"""Pairs whose raw replies are in memory at once."""
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
    waiting: list[tuple[str, str, str, str | None]] = field(default_factory=list)
    """Ids of pairs, the people who are to correct them, what is to be done next, and a model's draft."""
    more: list[int] = field(default_factory=list)
    """Tasks beyond one for each annotator of a pair: those that several people do."""


class Corrections:
    """The plan of corrections: who is asked what, who comes next, and what the ledger holds of it."""

    def __init__(self, pipeline: Pipeline, staff: Staff, planned: "pl.DataFrame", said: Rulings | None = None) -> None:
        """planned: pair_id, order, wanted of all pairs that are to be corrected, and `violations`.

        said: what people said.
        """
        self._pipeline, self._config = pipeline, pipeline.config.annotate
        self._staff, self._planned = staff, planned
        self._said = said or {}
        self._without: Counter[str] = Counter()
        names = [one.name for one in self._config.annotators]
        self._drafters = {
            number: names.index(one.draft)
            for number, one in enumerate(self._config.annotators)
            if one.kind == PEOPLE and one.draft is not None
        }

    def asks(self, store: RunStore) -> list[Ask]:
        """What each annotator who can be called is to be asked."""
        return [
            self._staff.ask(
                chain,
                self._calls(store, number),
                self._planned.filter(self._is_asked(number)).height,
                passes_on=self._config.fallback,
            )
            for number, chain in enumerate(self._staff.annotators)
            if chain is not None
        ]

    def _is_asked(self, number: int) -> "pl.Expr":
        """Whether an annotator works on a pair, or writes the draft for people who do."""
        import polars as pl

        first = pl.col("order").list.head(pl.col("wanted"))
        numbers = [number, *(people for people, drafter in self._drafters.items() if drafter == number)]
        return pl.any_horizontal([first.list.contains(pl.lit(one, pl.UInt8)) for one in numbers])

    def _calls(self, store: RunStore, number: int) -> Iterator[Call]:
        chain = self._staff.annotators[number]
        if chain is None:
            raise AssertionError
        for pairs in store.frames("dedup", "pairs"):
            for some in pairs.iter_slices(READ_PAIRS):
                for task, order, wanted in self._rows(some, self._is_asked(number)):
                    is_draft = number not in order[:wanted]
                    yield chain.call(task) if is_draft else self._call(number, task, order, wanted)

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
        found: dict[tuple[int, int], Outcome[str] | Standing] = {}
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
    ) -> Mapping[tuple[int, int], Outcome[str] | Standing]:
        outcomes: dict[tuple[int, int], Outcome[str] | Standing] = {}
        by_number: dict[int, dict[tuple[int, int], CorrectionTask]] = {}
        for row, place in places:
            by_number.setdefault(rows[row][1][place], {})[row, place] = rows[row][0]
        for number, asked in by_number.items():
            chain = self._staff.annotators[number]
            if chain is not None:
                outcomes |= chain.outcomes(ledger, asked)
                continue
            drafts = self._drafts(number, list(asked.values()), ledger)
            one = self._config.annotators[number]
            found = standings(self._pipeline, one, list(asked.values()), drafts, self._said)
            outcomes |= {key: found[task.pair_id] for key, task in asked.items()}
        return outcomes

    def _drafts(self, number: int, asked: list[CorrectionTask], ledger: Ledger) -> dict[str, str]:
        """By pair, where these people begin, as far as a model wrote that."""
        chain = self._staff.annotators[self._drafters[number]] if number in self._drafters else None
        if chain is None:
            return {}
        outcomes = chain.outcomes(ledger, {task.pair_id: task for task in asked})
        return {pair_id: outcome.said for pair_id, outcome in outcomes.items() if outcome.said is not None}

    def _note(self, task: CorrectionTask, number: int, outcome: Outcome[str] | Standing, corrected: Corrected) -> None:
        name = self._config.annotators[number].name
        if isinstance(outcome, Standing):
            self._note_people(task, self._config.annotators[number], outcome, corrected)
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

    def _note_people(self, task: CorrectionTask, one: AnnotatorConfig, found: Standing, corrected: Corrected) -> None:
        """People's corrections, the pairs that they rejected (nobody else is asked about those), and what is open."""
        written: set[str] = set()
        for ruling in found.rulings:
            if ruling.text is None:
                why = f"rejected by {ruling.person}: {', '.join(ruling.reasons) or 'no reason given'}"
                corrected.failures.append((f"{task.pair_id}:{one.name}", NAME, "rejected", why, 1))
                continue
            place = [f"{ruling.title}:{ruling.annotation_id}"] if ruling.text in written else []
            written.add(ruling.text)
            corrected.candidates.append(person_row(task.pair_id, one.name, ruling, *place))
        if found.open:
            step, draft = found.open[0].step, found.open[0].draft
            has_draft = step in FIRST and draft != task.answer
            row = (task.pair_id, one.name, str(step), draft if has_draft else None)
            corrected.waiting.extend([row] * found.missing)
        corrected.more.append(max(0, len(found.rulings) + found.missing - 1))


def person_row(pair_id: str, name: str, ruling: Ruling, *more: str) -> tuple[Any, ...]:
    """A person's correction as a row of the table. more: what tells it from an equal one of the same name."""
    return (
        *(content_id("correction", pair_id, name, ruling.text, *more), pair_id, name, PERSON, ruling.text),
        *(None, None, None, f"{ruling.title}:{ruling.annotation_id}:{ruling.person}", ruling.seconds),
    )
