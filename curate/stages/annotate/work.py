"""One run of the stage, step by step: critiques, corrections, gates, the judge, one winner a pair, reports."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from curate.asking.loop import run_calls
from curate.asking.stage_calls import Limits, ask_all
from curate.asking.work import Ask
from curate.config.annotating import PREFERENCE
from curate.config.model import Pipeline
from curate.config.table import Bounds
from curate.gates.registry import find_gates
from curate.identity import content_ids
from curate.ledger.journal import Ledger
from curate.ledger.labels import LabelBook, Rulings
from curate.progress import Progress
from curate.stages.annotate.adjudicating import choices_of
from curate.stages.annotate.correcting import NAME, Corrected, Corrections, critic_ask
from curate.stages.annotate.planning import planned, preferred_texts, suspicious
from curate.stages.annotate.recipes import Staff, context_of, staff_of
from curate.store.run import Draft, RunStore

if TYPE_CHECKING:
    import polars as pl

    from curate.stages.annotate.comparing import Preferences, Rating
    from curate.stages.annotate.deciding import Decided
    from curate.stages.annotate.measuring import Embed

WAITING = ("pair_id", "annotator", "reason", "draft")


class Work:
    """One run of the stage, step by step."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: RunStore,
        ledger: Ledger,
        draft: Draft,
        progress: Progress,
        bounds: Mapping[str, Bounds],
    ) -> None:
        self._pipeline, self._store, self._ledger, self._draft = pipeline, store, ledger, draft
        self._progress, self._config = progress, pipeline.config.annotate
        self._staff = staff_of(pipeline)
        self._bounds = bounds
        self._measured: list[pl.DataFrame] = []
        self._chosen = choices_of(pipeline)
        self._ratings: list[Rating] = []

    def criticise(self) -> None:
        """Ask the critic about every pair, plan who corrects what, and write the critic's verdicts."""
        if self._staff.critic is not None:
            self._ask([critic_ask(self._staff, self._store)])
        plan = planned(self._pipeline, self._store, self._staff, self._ledger)
        self._planned, self._flags = plan.tasks, plan.flags
        if strange := sorted(set(self._chosen.by_annotator) - set(plan.flags["pair_id"].to_list())):
            self._progress.say(f"{len(strange):,} decisions name pairs that are not here, such as {strange[0]}")
        for some in plan.verdicts:
            self._draft.write("verdicts", some)

    def correct(self) -> None:
        """Ask the annotators; write all that they wrote as candidates, with the scores of the gates."""
        import polars as pl

        from curate.gates.scoring import score
        from curate.stages.annotate.measuring import unwritten
        from schemas.tables import Failures

        corrections = Corrections(self._pipeline, self._staff, self._planned, self._said())
        self._ask(corrections.asks(self._store))
        gates, context = find_gates(self._bounds), context_of(self._staff.recipes.values())
        self._waiting = self._tasks = self._more = 0
        unfinished = [pl.Series("pair_id", [], dtype=pl.String)]
        for pairs in self._store.frames("dedup", "pairs"):
            corrected = corrections.outcomes(pairs, self._ledger)
            candidates = self._candidates(pairs, corrected)
            waiting = pl.DataFrame(corrected.waiting, schema=dict.fromkeys(WAITING, pl.String), orient="row")
            waiting = waiting.with_columns(correction_id=pl.lit(None, pl.String))
            failures = pl.DataFrame(corrected.failures, schema=Failures.create_empty().schema, orient="row")
            self._draft.write("verdicts", suspicious(pairs, context.marks))
            self._draft.write("candidates", candidates)
            flagged = _rows(pairs, candidates).join(self._flags, on="pair_id", how="left", maintain_order="left")
            self._draft.write("scores", score(flagged, gates, context))
            self._draft.write("failures", failures)
            self._draft.write("waiting", waiting)
            self._measured.append(unwritten(failures, waiting))
            unfinished.append(waiting["pair_id"])
            self._more += sum(corrected.more)
            self._tasks += candidates.height + failures.height + waiting.height
            self._waiting += waiting.height
        self._unfinished = pl.concat(unfinished)

    def judge(self) -> None:
        """Ask the judge about every correction that passed the gates and is no copy."""
        from curate.stages.annotate.comparing import comparisons

        judge = self._staff.judge
        if judge is None:
            return
        total = sum(1 for rows, _ in self._past_gates() for _ in comparisons(rows, is_between=self._is_between))
        calls = (
            judge.call(task)
            for rows, _ in self._past_gates()
            for _, task in comparisons(rows, is_between=self._is_between)
        )
        self._ask([self._staff.ask(judge, calls, total)])

    def decide(self) -> None:
        """Write which corrections stay and why the others do not, then the reports, and publish."""
        import polars as pl

        from curate.stages.annotate.deciding import copies_beyond, copy_verdicts, without
        from curate.stages.annotate.measuring import agreement_of, compared, counted, rating_agreement, report

        share, too_many = self._config.max_copy_share, None
        if share is not None:
            kept = pl.concat([_ids(one.kept) for _, one in self._decided()])
            copies = kept.filter("is_copy")
            too_many = copies_beyond(copies, kept.height - copies.height, share, self._pipeline.config.seed)
        embed, agreement = self._embed(), []
        for rows, decided in self._decided():
            verdicts, kept = decided.verdicts, decided.kept
            if share is not None and too_many is not None:
                verdicts = pl.concat([verdicts, copy_verdicts(kept, too_many, share)])
                kept = without(kept, verdicts)
            self._draft.write("verdicts", verdicts)
            self._draft.write("corrections", kept.select(_columns()))
            self._draft.write("waiting", _waiting_rows(decided.undecided))
            self._waiting += decided.undecided.height
            self._measured.append(counted(rows, kept, verdicts, decided.undecided))
            agreement.append(compared(rows, embed))
        agreed = agreement_of(agreement)
        rated = [rating_agreement(f"{name}, {{}}", rows) for name, rows in self._rated() if rows]
        names = [one.name for one in self._config.annotators]
        self._draft.write("agreement", pl.concat([agreed, *rated], how="diagonal_relaxed"))
        self._draft.write("annotators", report(names, self._measured, agreed))
        self._draft.write("recipes", _recipe_rows(self._staff))
        if self._waiting:
            self._progress.say(f"{self._waiting:,} tasks wait for people; `curate show waiting` lists them")
        self._draft.publish(rows_in=self._rows_in(), waiting=self._waiting)

    @property
    def _is_between(self) -> bool:
        return self._config.overlap.adjudicate == "judge"

    def _ask(self, asks: list[Ask]) -> None:
        """Ask for what the ledger lacks; connections are closed at the end."""
        limits = Limits(self._pipeline.config.budget_usd, self._config.budget_usd)

        async def asked() -> None:
            try:
                await ask_all(asks, self._ledger, NAME, limits, self._progress)
            finally:
                for one in asks:
                    await one.asker.close()

        run_calls(asked())

    def _rated(self) -> "Iterator[tuple[str, list[Rating]]]":
        """Who rates what: the judge in its two orders, and people on each axis."""
        if self._staff.judge is not None:
            yield self._staff.judge.respondent.name, self._ratings
        if any(chain is None for chain in self._staff.annotators):
            with LabelBook(self._pipeline.workdir / "ledger.sqlite") as book:
                yield from book.ratings(self._pipeline.name).items()

    def _said(self) -> Rulings:
        """What people said, where somebody asked them."""
        if all(chain is not None for chain in self._staff.annotators):
            return {}
        with LabelBook(self._pipeline.workdir / "ledger.sqlite") as book:
            return book.said()

    def _candidates(self, pairs: "pl.DataFrame", corrected: Corrected) -> "pl.DataFrame":
        """All corrections of some pairs, in the order of the pairs."""
        import polars as pl

        from schemas.tables import Corrections as Table

        schema = Table.create_empty().schema
        written = pl.DataFrame(corrected.candidates, schema=schema, orient="row")
        found = preferred_texts(self._store, pairs)
        ids = content_ids("correction", found["pair_id"], [PREFERENCE] * found.height, found["text"])
        imported = found.with_columns(
            pl.Series("correction_id", ids, dtype=pl.String),
            annotator=pl.lit(PREFERENCE),
            annotator_kind=pl.lit(PREFERENCE),
        )
        others = pl.concat([written, imported], how="diagonal").cast(schema).select(schema.names())
        own = pl.DataFrame(list(self._chosen.own_rows(others)), schema=schema, orient="row")
        self._more += own.height
        rows = pl.concat([others, own])
        order = pairs.select("pair_id").with_row_index("row")
        return (
            rows.join(order, on="pair_id", how="left", maintain_order="left")
            .sort("row", maintain_order=True)
            .drop("row")
        )

    def _shards(self) -> "Iterator[tuple[pl.DataFrame, pl.DataFrame]]":
        """Candidates with their pairs, and the gates' verdicts, shard by shard."""
        import polars as pl

        from curate.stages.annotate.deciding import gate_verdicts

        paths = zip(self._draft.paths("candidates"), self._draft.paths("scores"), strict=True)
        for pairs, (candidates, scores) in zip(self._store.frames("dedup", "pairs"), paths, strict=True):
            rows = _rows(pairs, pl.read_parquet(candidates))
            yield rows, gate_verdicts(rows, pl.read_parquet(scores), self._bounds)

    def _past_gates(self) -> "Iterator[tuple[pl.DataFrame, pl.DataFrame]]":
        from curate.stages.annotate.deciding import without

        for rows, gates in self._shards():
            yield without(rows, gates), gates

    def _decided(self) -> "Iterator[tuple[pl.DataFrame, Decided]]":
        from curate.stages.annotate.comparing import preferences
        from curate.stages.annotate.deciding import decide, without

        judge = self._staff.judge
        self._ratings.clear()
        for rows, gates in self._shards():
            past = without(rows, gates)
            said: Preferences = {}
            if judge is not None:
                said = preferences(past, judge, self._ledger, self._ratings, is_between=self._is_between)
            yield rows, decide(rows, gates, said, self._config, self._chosen, self._unfinished)

    def _embed(self) -> "Embed | None":
        if not self._config.overlap.embed:
            return None
        from curate.embed.space import open_vectors

        return open_vectors(self._pipeline, self._progress).of

    def _rows_in(self) -> int:
        """Tasks: one for each annotator that a pair wants, and with `fallback` one for each who came after.

        Where several people do the same task, one for each; and the texts that adjudicators wrote themselves.
        """
        import polars as pl

        first: int = self._planned.select(
            pl.max_horizontal(pl.min_horizontal("wanted", pl.col("order").list.len()), 1).cast(pl.Int64).sum()
        ).item()
        imported = sum(preferred_texts(self._store, pairs).height for pairs in self._store.frames("dedup", "pairs"))
        wanted = first + imported + self._more
        return max(wanted, self._tasks) if self._config.fallback else wanted


def _rows(pairs: "pl.DataFrame", candidates: "pl.DataFrame") -> "pl.DataFrame":
    """Corrections with question, turns and answer of their pairs, and their text as `correction`."""
    import polars as pl

    texts = pairs.select("pair_id", "question", "turns", "answer")
    joined = candidates.join(texts, on="pair_id", how="left", maintain_order="left", validate="m:1")
    return joined.with_columns(pl.col("text").alias("correction"))


def _ids(kept: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    return kept.select("correction_id", "pair_id", (pl.col("correction") == pl.col("answer")).alias("is_copy"))


def _columns() -> list[str]:
    from schemas.tables import Corrections as Table

    return Table.column_names()


def _recipe_rows(staff: Staff) -> "pl.DataFrame":
    import polars as pl

    schema = {"recipe_id": pl.String, "kind": pl.String, "name": pl.String, "version": pl.Int64, "words": pl.String}
    rows = sorted({row for told in staff.recipes.values() for row in told.rows()})
    return pl.DataFrame(rows, schema=schema, orient="row")


def _waiting_rows(undecided: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    return undecided.select("pair_id", "annotator", "reason", pl.lit(None, pl.String).alias("draft"), "correction_id")
