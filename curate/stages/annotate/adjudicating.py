"""A person's choice among several corrections of one pair: from a file, or from adjudicators in Label Studio."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from annotators.label_studio.results import OWN, REJECT, TEXT
from curate.config.annotating import ADJUDICATOR
from curate.config.model import Pipeline
from curate.ledger.labels import LabelBook, Ruling
from curate.stages.annotate.correcting import PERSON, person_row
from schemas.errors import SourceError

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Decision:
    """What an adjudicator made of some corrections. shown: their ids. winner: one of them, or `own`'s; None: no one."""

    shown: frozenset[str]
    winner: str | None
    own: Ruling | None = None


@dataclass(frozen=True)
class Choices:
    """What persons chose. by_annotator: of a pair, from the file of decisions. by_pair: decisions, the newest first."""

    by_annotator: Mapping[str, str] = field(default_factory=dict)
    by_pair: Mapping[str, Sequence[Decision]] = field(default_factory=dict)

    def winner(self, group: "pl.DataFrame") -> int | str | None:
        """Position of the correction that wins, REJECT where none may, None where a person must still choose.

        group: the corrections of one pair. A decision counts while all of them were shown to whoever took it. Where
        nobody chose, equal texts need no choice, and a single person's text wins over models'.
        """
        pair_id = group["pair_id"][0]
        names, ids, kinds = (group[column].to_list() for column in ("annotator", "correction_id", "annotator_kind"))
        if names.count(wanted := self.by_annotator.get(pair_id)) == 1:
            return names.index(wanted)
        for decision in self.by_pair.get(pair_id, ()):
            own = {decision.winner} if decision.own is not None else set()
            if not set(ids) <= decision.shown | own:
                continue
            if decision.winner in ids:
                return ids.index(decision.winner)
            if decision.winner is None or decision.own is not None:  # an own text that a gate dropped rejects as well
                return REJECT
            break
        if group["correction"].n_unique() == 1:
            return 0
        return kinds.index(PERSON) if kinds.count(PERSON) == 1 else None

    def own_rows(self, candidates: "pl.DataFrame") -> Iterator[tuple[Any, ...]]:
        """Rows of the texts that adjudicators wrote themselves, of pairs whose shown corrections are still there."""
        there = dict(candidates.group_by("pair_id").agg("correction_id").iter_rows()) if self.by_pair else {}
        for pair_id, ids in there.items():
            newest = next((one for one in self.by_pair.get(pair_id, ()) if one.own is not None), None)
            if newest is not None and newest.own is not None and newest.shown <= {*ids, newest.winner}:
                yield person_row(pair_id, ADJUDICATOR, newest.own)


def choices_of(pipeline: Pipeline) -> Choices:
    """What persons chose among corrections. Raises SourceError at a broken row of the file of decisions."""
    if pipeline.config.annotate.overlap.adjudicate != "person":
        return Choices()
    with LabelBook(pipeline.workdir / "ledger.sqlite") as book:
        return Choices(_from_file(pipeline), _decisions(book, pipeline.name))


def _from_file(pipeline: Pipeline) -> Mapping[str, str]:
    """Of a pair, the annotator whose correction a person chose."""
    name = pipeline.config.annotate.overlap.decisions
    if name is None:
        return {}
    from curate.providers.recorded import recorded_rows

    path = pipeline.path(name)
    if not path.is_file():
        raise SourceError(f"there is no file {name} ({path})", do="correct annotate.overlap.decisions")
    if path.stat().st_size == 0:
        return {}
    return {str(pair_id): str(annotator) for pair_id, annotator in recorded_rows(path, name, ("pair_id", "annotator"))}


def _decisions(book: LabelBook, pipeline: str) -> dict[str, list[Decision]]:
    """What adjudicators said, by pair, the newest first."""
    said, found = book.said(), {}
    for pair_id, tasks in book.adjudications(pipeline).items():
        taken = [
            _decision(pair_id, subject, ruling) for uid, subject in tasks for ruling in list(said.get(uid, ()))[-1:]
        ]
        if taken:
            found[pair_id] = taken[::-1]
    return found


def _decision(pair_id: str, subject: Sequence[str], ruling: Ruling) -> Decision:
    if ruling.verdict == OWN:
        return Decision(frozenset(subject), person_row(pair_id, ADJUDICATOR, ruling)[0], ruling)
    if ruling.verdict == REJECT:
        return Decision(frozenset(subject), None)
    return Decision(frozenset(subject), subject[int(ruling.verdict.removeprefix(TEXT)) - 1])
