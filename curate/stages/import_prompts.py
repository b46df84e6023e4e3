"""Import: raw files of many shapes become the table of prompts; broken rows become failures, repeats verdicts."""

from dataclasses import dataclass, field
from typing import Any

from curate.config.model import Pipeline, SourceConfig
from curate.identity import content_ids, file_hash
from curate.progress import Progress
from curate.sources.files import check_each_once, matching
from curate.sources.prompts import prompts
from curate.sources.readers import Broken
from curate.sources.shapes import RawPrompt
from curate.store.run import SHARD_ROWS, Draft, RunStore
from schemas.errors import SourceError, StageError

NAME = "import"
VERSION = 1


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
            }
            for source, names in files
        ],
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Read every source file once, in order. Raises SourceError, or StageError where no prompt was found."""
    with store.draft(NAME, key, unit="row", kept="prompts") as draft:
        block = _Block(draft)
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
    for row, found in prompts(pipeline.path(name), name, source.shape, source.field):
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


@dataclass
class _Block:
    """Rows on their way into one shard. Ids of all prompts so far are held (about 100 bytes each)."""

    draft: Draft
    rows_in: int = 0
    rows_kept: int = 0
    first_failure: str = ""
    _prompts: list[tuple[str, list[dict[str, str]], str, int, str | None]] = field(default_factory=list)
    _failures: list[tuple[str, str, str, str, int]] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    def add(self, source: SourceConfig, name: str, row: int, prompt: RawPrompt) -> None:
        turns = [{"role": turn.role, "text": turn.text} for turn in prompt.turns]
        self._prompts.append((prompt.text, turns, name, row, source.license))
        self._count()

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
        self.draft.write("verdicts", _repeats(frame.filter(~new)).cast(Verdicts.create_empty().schema))
        self.draft.write("failures", pl.DataFrame(self._failures, schema=Failures.create_empty().schema, orient="row"))
        self._prompts.clear()
        self._failures.clear()

    def _see(self, prompt_id: str) -> bool:
        known = bytes.fromhex(prompt_id)
        if known in self._seen:
            return False
        self._seen.add(known)
        return True


def _repeats(prompts: Any) -> Any:
    """One verdict for each prompt that occurred before, letter by letter; its twin is the prompt that stays."""
    import polars as pl

    return prompts.select(
        pl.format("{}:{}", "source", "source_row").alias("row_id"),
        pl.lit(NAME).alias("stage"),
        pl.lit("import.same_prompt").alias("rule"),
        pl.lit(1.0).alias("score"),
        pl.lit(1.0).alias("threshold"),
        pl.lit(value=False).alias("kept"),
        pl.col("prompt_id").alias("twin_id"),
        pl.lit(None, pl.String).alias("note"),
    )
