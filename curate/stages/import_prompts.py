"""Import: raw files of many shapes become the table of prompts; broken rows become failures, repeats verdicts.

Of sources with `preferences` each row's two answers become a row of that table, or a tag that says why not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline
from curate.config.sources import SourceConfig
from curate.identity import content_ids, file_hash
from curate.progress import Progress
from curate.sources.dialogues import RawPrompt
from curate.sources.files import check_each_once, matching
from curate.sources.preferences import Compared, NoPreference, Outcome, RawPreference
from curate.sources.prompts import preferences, prompts
from curate.sources.readers import Broken
from curate.store.run import SHARD_ROWS, Draft, RunStore
from schemas.errors import SourceError, StageError

if TYPE_CHECKING:
    import polars as pl

NAME = "import"
VERSION = 1
WHAT_IS_PREFERRED = ("prompt_id", "answer", "correction")
"""What makes two preferences the same, whoever wrote the answer and wherever they stand."""


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:  # noqa: ARG001  all stages are asked alike
    """Hashes of all source files and how they are read."""
    files = _files(pipeline)
    return {
        "stage": NAME,
        "version": VERSION,
        "sources": [
            {
                "path": source.path,
                "shape": source.shape,
                "field": source.field,
                "license": source.license,
                "files": {name: file_hash(pipeline.path(name)) for name in names},
                **({"preferences": True, "upstream_model": source.upstream_model} if source.preferences else {}),
            }
            for source, names in files
        ],
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Read every source file once, in order. Raises SourceError, or StageError where no prompt was found."""
    with store.draft(NAME, key, unit="row", kept="prompts") as draft:
        block = _Block(draft, any(source.preferences for source in pipeline.config.sources))
        for source, names in _files(pipeline):
            for name in names:
                _read_file(pipeline, source, name, block, progress)
        block.flush()
        if block.rows_kept == 0:
            raise StageError(
                f"no prompt was found in {block.rows_in} rows; the first that failed: {block.first_failure}",
                do="check path, shape and field of the sources",
            )
        draft.publish(rows_in=block.rows_in)


def _files(pipeline: Pipeline) -> list[tuple[SourceConfig, list[str]]]:
    if not pipeline.config.sources:
        raise StageError(
            f"the pipeline {pipeline.name} has no sources", do=f"add a [[pipelines.{pipeline.name}.sources]] table"
        )
    files = [(source, matching(pipeline.folder, source.path)) for source in pipeline.config.sources]
    check_each_once([name for _, names in files for name in names], pipeline.folder)
    return files


def _read_file(pipeline: Pipeline, source: SourceConfig, name: str, block: "_Block", progress: Progress) -> None:
    failed, first, found_here = 0, None, 0
    for row, found in _rows(pipeline.path(name), source, name):
        if isinstance(found, Broken):
            block.add_failure(name, row, found)
            failed, first = failed + 1, first or (row, found)
        else:
            block.add(source, name, row, found)
            found_here += 1
        progress.update(f"{block.rows_in:,} rows, in {name}")
    if first and not found_here and first[1].kind in {"missing_field", "wrong_shape"}:
        raise SourceError(
            f'{name}: none of its {failed} rows fits shape = "{source.shape}"; row {first[0]}: {first[1].detail}',
            do="correct shape or field of this source",
        )


def _rows(path: Path, source: SourceConfig, name: str) -> Iterator[tuple[int, RawPrompt | Compared | Broken]]:
    if source.preferences:
        return preferences(path, name, source.shape)
    return prompts(path, name, source.shape, source.field)


@dataclass
class _Block:
    """Rows on their way into one shard. Ids of all prompts and preferences so far are held (about 100 bytes each)."""

    draft: Draft
    holds_preferences: bool
    rows_in: int = 0
    rows_kept: int = 0
    first_failure: str = ""
    _prompts: list[tuple[str, list[dict[str, str]], str, int, str | None]] = field(default_factory=list)
    _failures: list[tuple[str, str, str, str, int]] = field(default_factory=list)
    _compared: list[tuple[int, RawPreference, str]] = field(default_factory=list)
    _tags: list[tuple[str, str, str]] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    def add(self, source: SourceConfig, name: str, row: int, found: RawPrompt | Compared) -> None:
        if isinstance(found, Compared):
            self._add_outcome(source, f"{name}:{row}", found.outcome)
        prompt = found.prompt if isinstance(found, Compared) else found
        turns = [{"role": turn.role, "text": turn.text} for turn in prompt.turns]
        self._prompts.append((prompt.text, turns, name, row, source.license))
        self._count()

    def _add_outcome(self, source: SourceConfig, row_id: str, outcome: Outcome) -> None:
        """Of the prompt that is added next; the place of it among the prompts of this shard is kept."""
        if isinstance(outcome, NoPreference):
            self._tags.append((row_id, outcome.rule, outcome.note))
        elif isinstance(outcome, RawPreference):
            self._compared.append((len(self._prompts), outcome, outcome.upstream_model or source.upstream_model))

    def add_failure(self, name: str, row: int, broken: Broken) -> None:
        self.first_failure = self.first_failure or f"{name}, row {row}: {broken.detail}"
        detail = broken.detail.encode("utf-8", errors="replace").decode("utf-8")
        self._failures.append((f"{name}:{row}", NAME, broken.kind, detail, 1))
        self._count()

    def _count(self) -> None:
        self.rows_in += 1
        if len(self._prompts) + len(self._failures) >= SHARD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one shard of each table; of equal prompts the first stays."""
        import polars as pl

        from schemas.tables import Failures, Prompts, Verdicts

        columns = list(zip(*self._prompts, strict=True)) or [()] * 5
        texts, turns, sources, source_rows, licenses = columns
        ids = content_ids("prompt", texts, turns)
        is_new = [self._see(prompt_id) for prompt_id in ids]
        frame = pl.DataFrame(
            {
                "prompt_id": ids,
                "text": texts,
                "turns": turns,
                "source": sources,
                "source_row": source_rows,
                "license": licenses,
                "language": [None] * len(ids),
            },
            schema=Prompts.create_empty().schema,
        )
        new = pl.Series(is_new, dtype=pl.Boolean)
        self.rows_kept += int(new.sum())
        self.draft.write("prompts", frame.filter(new))
        verdicts = _repeats(frame.filter(~new), "import.same_prompt", "prompt_id", kept=False).cast(
            Verdicts.create_empty().schema
        )
        if self.holds_preferences:
            verdicts = pl.concat([verdicts, self._flush_preferences(frame)])
        self.draft.write("verdicts", verdicts)
        self.draft.write("failures", pl.DataFrame(self._failures, schema=Failures.create_empty().schema, orient="row"))
        self._prompts.clear()
        self._failures.clear()

    def _flush_preferences(self, prompts: "pl.DataFrame") -> "pl.DataFrame":
        """Write the preferences of these prompts, each once; gives the tags on rows that made none."""
        import polars as pl

        from schemas.tables import Preferences, Verdicts

        places, found, models = list(zip(*self._compared, strict=True)) or [()] * 3
        frame = prompts[pl.Series(places, dtype=pl.Int64)].select(
            "prompt_id",
            pl.Series("answer", [one.answer for one in found], pl.String),
            pl.Series("correction", [one.correction for one in found], pl.String),
            pl.Series("upstream_model", models, pl.String),
            *("source", "source_row", "license"),
        )
        ids = pl.Series("preference_id", content_ids("preference", *frame.select(WHAT_IS_PREFERRED)), pl.String)
        frame = frame.select(ids, pl.all())
        new = pl.Series([self._see(preference_id) for preference_id in ids], dtype=pl.Boolean)
        self.draft.write("preferences", frame.filter(new).select(Preferences.column_names()))
        again = _repeats(frame.filter(~new), "import.same_preference", "preference_id", kept=True)
        tags = pl.DataFrame(self._tags, schema=dict.fromkeys(("row_id", "rule", "note"), pl.String), orient="row")
        self._compared.clear()
        self._tags.clear()
        schema = Verdicts.create_empty().schema
        return pl.concat([again.cast(schema), _tagged(tags).cast(schema)])

    def _see(self, content_id: str) -> bool:
        known = bytes.fromhex(content_id)
        if known in self._seen:
            return False
        self._seen.add(known)
        return True


def _repeats(rows: "pl.DataFrame", rule: str, twin_id: str, *, kept: bool) -> "pl.DataFrame":
    """One verdict for each row that occurred before, letter by letter; its twin is the one that stays."""
    import polars as pl

    return rows.select(
        pl.format("{}:{}", "source", "source_row").alias("row_id"),
        pl.lit(NAME).alias("stage"),
        pl.lit(rule).alias("rule"),
        pl.lit(1.0).alias("score"),
        pl.lit(1.0).alias("threshold"),
        pl.lit(value=kept).alias("kept"),
        pl.col(twin_id).alias("twin_id"),
        pl.lit(None, pl.String).alias("note"),
    )


def _tagged(rows: "pl.DataFrame") -> "pl.DataFrame":
    """One verdict for each row whose prompt stays without a preference; its note says what was found."""
    import polars as pl

    return rows.select(
        "row_id",
        pl.lit(NAME).alias("stage"),
        "rule",
        pl.lit(None, pl.Float64).alias("score"),
        pl.lit(None, pl.Float64).alias("threshold"),
        pl.lit(value=True).alias("kept"),
        pl.lit(None, pl.String).alias("twin_id"),
        "note",
    )
