"""What the Aligner learns from: token rows of the release, those of the warm-up, those held out, those too long."""

import hashlib
from array import array
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline
from curate.progress import Progress
from curate.stages.train_start import Parent, Start
from curate.store.run import RunStore
from curate.training.templates import Template
from schemas.errors import StageError

if TYPE_CHECKING:
    import polars as pl

    from curate.training.samples import Sample
    from curate.training.settings import Settings
    from curate.training.tokens import TokenRow

COLUMNS = ("triple_id", "prompt_tokens", "target_tokens", "is_warmup")


@dataclass(frozen=True)
class Texts:
    """Rows of one split as they are shown to the Aligner, by position; the only place where they are aligned so."""

    row_ids: list[str]
    prompts: list[str]
    answers: list[str]
    corrections: list[str]

    def only(self, wanted: Collection[str]) -> "Texts":
        """The rows with these ids."""
        kept = [number for number, row_id in enumerate(self.row_ids) if row_id in wanted]
        parts = (self.row_ids, self.prompts, self.answers, self.corrections)
        return Texts(*([part[number] for number in kept] for part in parts))


@dataclass(frozen=True)
class Data:
    """copies have the answer as target. The held-out ones are those of the validation split that are not too long."""

    rows: "list[TokenRow]"
    copies: "list[TokenRow]"
    held_out: "list[TokenRow]"
    held_out_copies: "list[TokenRow]"
    too_long: set[str]

    def content(self) -> str:
        """64 hexadecimal digits over ids and tokens of all rows in order."""
        found = hashlib.sha256()
        for part in (self.rows, self.copies, self.held_out, self.held_out_copies):
            for row in part:
                found.update(f"{row.row_id} {row.prompt_tokens} {len(row.ids)} ".encode())
                found.update(array("q", row.ids).tobytes())
        return found.hexdigest()


def data_of(tokenizer: Any, training: Texts, validation: Texts, settings: "Settings", max_share: float) -> Data:
    """Token rows of both splits. Raises StageError where more than `max_share` of the training rows are too long."""
    rows, copies, too_long = _fitting(tokenizer, training, settings.max_tokens)
    share = len(too_long) / len(training.row_ids)
    if not rows:
        raise StageError(
            f"train: no row is left, as all {len(training.row_ids):,} are longer than {settings.max_tokens} tokens",
            do="raise train.max_tokens",
        )
    if share > max_share:
        raise StageError(
            f"train: {len(too_long):,} of {len(training.row_ids):,} rows ({share:.1%}) are longer than "
            f"{settings.max_tokens} tokens; {max_share:.1%} may be",
            do="raise train.max_tokens, or train.max_too_long_share where they may go",
        )
    held_out, held_out_copies, _ = _fitting(tokenizer, validation, settings.max_tokens)
    chosen = warmup_rows(training.row_ids, settings)
    return Data(rows, [row for row in copies if row.row_id in chosen], held_out, held_out_copies, too_long)


def warmup_rows(row_ids: Sequence[str], settings: "Settings") -> set[str]:
    """The rows on which the model first learns to copy, drawn by id."""
    import polars as pl

    from curate.assignment import uniforms

    ids = pl.Series(row_ids, dtype=pl.String)
    return set(ids.filter(uniforms(ids, "warm-up", settings.seed) < settings.warmup_share))


def new_rows(row_ids: Sequence[str], learned: Collection[str], replay_share: float, seed: int) -> set[str]:
    """The rows that were not learned from, and a share of the others, drawn by id."""
    import polars as pl

    from curate.assignment import uniforms

    ids = pl.Series(row_ids, dtype=pl.String)
    replayed = ids.filter(uniforms(ids, "replay", seed) < replay_share)
    return {one for one in row_ids if one not in learned} | set(replayed)


def rendered(triples: "pl.DataFrame", template: Template) -> list[str]:
    """What the Aligner reads for each row: earlier turns stand before the question."""
    return [
        template.prompt("\n".join([*(turn["text"] for turn in turns), question]), answer)
        for turns, question, answer in triples.select("turns", "question", "answer").iter_rows()
    ]


def released(store: RunStore, split: str) -> "pl.DataFrame":
    """One split in the order of ids."""
    import polars as pl

    return store.table("release", "triples").filter(pl.col("split") == split).sort("triple_id").collect()


def texts(triples: "pl.DataFrame", template: Template) -> Texts:
    """Rows as the Aligner is shown them."""
    answers, corrections = ([template.target(text) for text in triples[name]] for name in ("answer", "correction"))
    return Texts(triples["triple_id"].to_list(), rendered(triples, template), answers, corrections)


def to_learn(found: Texts, parent: Parent, pipeline: Pipeline, start: Start, progress: Progress) -> Texts:
    """All rows, or those that are new to the Aligner and the replayed ones. Raises StageError where none is new."""
    config = pipeline.config.train
    if config.rows == "all":
        return found
    if parent.learned is None:
        raise StageError(f"{start.name} does not say which rows it learned from", do='set train.rows = "all"')
    new = set(found.row_ids) - parent.learned
    if not new:
        raise StageError(
            f"{start.name} has learned from all {len(found.row_ids):,} training rows of the release already",
            do='add prompts, answers or corrections and release them, or set train.rows = "all"',
        )
    wanted = new_rows(found.row_ids, parent.learned, config.replay_share, pipeline.config.seed)
    progress.say(f"{len(new):,} rows are new to {start.name}, {len(wanted) - len(new):,} are replayed")
    return found.only(wanted)


def used(data: Data) -> "pl.DataFrame":
    """The table of rows that were trained on."""
    import polars as pl

    copied = {row.row_id for row in data.copies}
    values = [(row.row_id, row.prompt_tokens, row.target_tokens, row.row_id in copied) for row in data.rows]
    types = (pl.String, pl.Int64, pl.Int64, pl.Boolean)
    return pl.DataFrame(values, schema=dict(zip(COLUMNS, types, strict=True)), orient="row")


def verdicts(data: Data, max_tokens: int, learned_before: Collection[str]) -> "pl.DataFrame":
    """A verdict on each training row that is too long, and on each that is left out as it was learned from before."""
    import polars as pl

    return pl.concat(
        [
            _dropped(sorted(data.too_long), "train.tokens", max_tokens, "prompt and target together are longer"),
            _dropped(sorted(learned_before), "train.learned", None, "train.aligner has learned from it"),
        ]
    )


def _dropped(row_ids: list[str], rule: str, threshold: float | None, note: str) -> "pl.DataFrame":
    import polars as pl

    return pl.DataFrame({"row_id": row_ids}, schema={"row_id": pl.String}).select(
        "row_id",
        pl.lit("train").alias("stage"),
        pl.lit(rule).alias("rule"),
        pl.lit(None, pl.Float64).alias("score"),
        pl.lit(threshold, pl.Float64).alias("threshold"),
        pl.lit(value=False).alias("kept"),
        pl.lit(None, pl.String).alias("twin_id"),
        pl.lit(note).alias("note"),
    )


def samples(written: "Sequence[Sample]", triples: "pl.DataFrame") -> "pl.DataFrame":
    """The table of what the Aligner wrote at each evaluation, beside the row as it was released."""
    import polars as pl

    types = {"phase": pl.String, "step": pl.Int64, "epoch": pl.Int64, "triple_id": pl.String}
    schema = {**types, "aligner_correction": pl.String, "has_ended": pl.Boolean}
    rows = pl.DataFrame([asdict(one) for one in written], schema=schema)
    released = triples.select("triple_id", "question", "answer", "correction", "is_identity")
    return rows.join(released, on="triple_id", how="left", validate="m:1", maintain_order="left")


def _fitting(tokenizer: Any, texts: Texts, max_tokens: int) -> "tuple[list[TokenRow], list[TokenRow], set[str]]":
    from curate.training.tokens import token_rows

    rows = token_rows(tokenizer, texts.row_ids, texts.prompts, texts.corrections)
    copies = token_rows(tokenizer, texts.row_ids, texts.prompts, texts.answers)
    too_long = {row.row_id for row in [*rows, *copies] if len(row.ids) > max_tokens}
    return (
        [row for row in rows if row.row_id not in too_long],
        [row for row in copies if row.row_id not in too_long],
        too_long,
    )
