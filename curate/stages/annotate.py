"""Annotate: each pair goes to one annotator, who writes the better answer; it may equal the answer."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from annotators.principles import chosen
from annotators.template import VERSION as TEMPLATE_VERSION
from curate.asking.estimate import Estimate, dry_estimate
from curate.asking.loop import run_calls
from curate.asking.stage_calls import Limits, ask_all
from curate.asking.work import Ask, Call, reported_model
from curate.config.model import AnnotatorConfig, Pipeline
from curate.identity import content_id, file_hash, request_key
from curate.ledger.journal import KnownFailure, Ledger
from curate.progress import Progress
from curate.providers.verdict import Verdict, ruling
from curate.store.run import RunStore
from schemas.errors import RequestError, SourceError, StageError
from schemas.records import Annotator, CompletionRequest, CorrectionTask, Provider, Turn

if TYPE_CHECKING:
    import polars as pl

NAME = "annotate"
VERSION = 2
NOT_ASKED = KnownFailure("not_asked", "the run ended before this call", 0)
PEOPLE = "people"
READ_PAIRS = 2_000
"""Pairs whose raw replies are in memory at once."""


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """The pairs' content, and of each annotator what the corrections depend on."""
    return {
        "stage": NAME,
        "version": VERSION,
        "pairs": store.published("dedup").content("pairs"),
        "seed": pipeline.config.seed,
        "annotators": [_identity(pipeline, annotator) for annotator in pipeline.config.annotate.annotators],
    }


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Ask for what the ledger lacks, then write corrections and failures; pairs for people stay waiting."""
    config = pipeline.config.annotate
    if not config.annotators:
        raise StageError(
            "no annotator is configured to write corrections",
            do=f"add [[pipelines.{pipeline.name}.annotate.annotators]]",
        )
    with (
        store.draft(NAME, key, unit="pair", kept="corrections") as draft,
        Ledger(pipeline.workdir / "ledger.sqlite") as ledger,
    ):
        annotators = run_calls(_ask(pipeline, store, ledger, progress))
        waiting = 0
        for pairs in store.frames("dedup", "pairs"):
            corrections, failures = _outcomes(pipeline, pairs, annotators, ledger)
            draft.write("corrections", corrections)
            draft.write("failures", failures)
            waiting += pairs.height - corrections.height - failures.height
        if waiting:
            progress.say(f"{waiting:,} pairs wait for people; this version cannot send them to Label Studio yet")
        draft.publish(rows_in=store.published("dedup").rows("pairs"), waiting=waiting)


def dry_run(pipeline: Pipeline, store: RunStore) -> list[Estimate]:
    """What a run would send now, annotator by annotator: the plan less the ledger. People are not in it."""
    return dry_estimate(_asks(pipeline, store), pipeline.workdir / "ledger.sqlite", NAME)


async def _ask(pipeline: Pipeline, store: RunStore, ledger: Ledger, progress: Progress) -> list[Annotator | None]:
    async with _asks(pipeline, store) as (annotators, asks):
        limits = Limits(pipeline.config.budget_usd, pipeline.config.annotate.budget_usd)
        await ask_all(asks, ledger, NAME, limits, progress)
        return annotators


@asynccontextmanager
async def _asks(pipeline: Pipeline, store: RunStore) -> AsyncIterator[tuple[list[Annotator | None], list[Ask]]]:
    """Every annotator that can be called, None in the place of people, and what each is to be asked."""
    configs = pipeline.config.annotate.annotators
    made = [_make(pipeline, config) for config in configs]
    try:
        totals = _totals(pipeline, store)
        yield (
            [annotator for annotator, _ in made],
            [
                Ask(
                    annotator.name,
                    annotator,
                    config,
                    _calls(pipeline, store, number, annotator),
                    totals[number],
                    batches,
                )
                for number, (config, (annotator, batches)) in enumerate(zip(configs, made, strict=True))
                if annotator is not None
            ],
        )
    finally:
        for annotator, _ in made:
            if annotator is not None:
                await annotator.close()


def _make(pipeline: Pipeline, config: AnnotatorConfig) -> tuple[Annotator | None, Provider | None]:
    """The annotator, and the provider that takes its calls in batches."""
    if config.kind == PEOPLE:
        return None, None
    if config.kind == "recorded":
        return _recorded(pipeline, config), None
    from annotators.model import ModelAnnotator
    from curate.providers.making import make_provider

    provider: Provider = make_provider(pipeline, config.name, config)
    return ModelAnnotator(config.name, chosen(config.principles), provider), provider


def _recorded(pipeline: Pipeline, config: AnnotatorConfig) -> Annotator:
    import msgspec

    from annotators.recorded import RecordedCorrections
    from curate.providers.recorded import recorded_rows
    from curate.sources.files import matching

    columns = [config.columns.get(ours, ours) for ours in ("question", "answer", "correction")]
    names = matching(pipeline.folder, str(config.path))
    recorded = [row for name in names for row in recorded_rows(pipeline.path(name), name, columns)]
    hashes = [file_hash(pipeline.path(name)) for name in names]

    def request_of(task: CorrectionTask) -> CompletionRequest:
        body = msgspec.json.encode({"files": hashes, "question": task.question, "answer": task.answer})
        return CompletionRequest(request_key("recorded", config.name, body), "recorded", config.name, body)

    return RecordedCorrections(config.name, recorded, request_of)


def _totals(pipeline: Pipeline, store: RunStore) -> list[int]:
    """How many pairs go to each annotator."""
    totals: Counter[int] = Counter()
    for pairs in store.frames("dedup", "pairs"):
        totals.update(_plan(pipeline, pairs).to_list())
    return [totals[number] for number in range(len(pipeline.config.annotate.annotators))]


def _calls(pipeline: Pipeline, store: RunStore, number: int, annotator: Annotator) -> Iterator[Call]:
    for pairs in store.frames("dedup", "pairs"):
        is_asked = _plan(pipeline, pairs) == number
        for task in _tasks(pairs.filter(is_asked)):
            yield Call(annotator.request(task))


def _plan(pipeline: Pipeline, pairs: "pl.DataFrame") -> "pl.Series":
    """Position of each pair's annotator."""
    from curate.assignment import assign

    annotators = pipeline.config.annotate.annotators
    names, weights = [one.name for one in annotators], [one.weight for one in annotators]
    return assign(pairs["pair_id"], names, weights, 1, pipeline.config.seed).list.first()


def _tasks(pairs: "pl.DataFrame") -> Iterator[CorrectionTask]:
    for pair_id, question, answer, turns in pairs.select("pair_id", "question", "answer", "turns").iter_rows():
        yield CorrectionTask(pair_id, question, answer, tuple(Turn(turn["role"], turn["text"]) for turn in turns))


def _outcomes(
    pipeline: Pipeline, pairs: "pl.DataFrame", annotators: list[Annotator | None], ledger: Ledger
) -> tuple["pl.DataFrame", "pl.DataFrame"]:
    """Corrections and failures of one shard, joined with the ledger by request id, in the order of the pairs."""
    import polars as pl

    from schemas.tables import Corrections, Failures

    schemas = (Corrections.create_empty().schema, Failures.create_empty().schema)
    found: list[list[pl.DataFrame]] = [[pl.DataFrame(schema=schema)] for schema in schemas]
    for some in pairs.iter_slices(READ_PAIRS):
        for frames, schema, rows in zip(found, schemas, _rows(pipeline, some, annotators, ledger), strict=True):
            frames.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return pl.concat(found[0]), pl.concat(found[1])


def _rows(
    pipeline: Pipeline, pairs: "pl.DataFrame", annotators: list[Annotator | None], ledger: Ledger
) -> tuple[list[Any], list[Any]]:
    """Rows of corrections and of failures of some pairs."""
    configs = pipeline.config.annotate.annotators
    planned = []
    for task, number in zip(_tasks(pairs), _plan(pipeline, pairs).to_list(), strict=True):
        annotator = annotators[number]
        if annotator is not None:
            asked_model = reported_model(configs[number], annotator.name)
            planned.append((task, annotator, annotator.request(task).request_id, asked_model))
    ids = [request_id for _, _, request_id, _ in planned]
    responses = ledger.responses(ids)
    failed = ledger.failures(request_id for request_id in ids if request_id not in responses)
    corrections: list[Any] = []
    failures: list[Any] = []
    for task, annotator, request_id, asked_model in planned:
        if request_id not in responses:
            known = failed.get(request_id, NOT_ASKED)
            failures.append((task.pair_id, NAME, known.kind, known.detail, known.attempts))
            continue
        try:
            text = _correction(annotator, task, responses[request_id], asked_model)
        except RequestError as error:
            failures.append((task.pair_id, NAME, error.kind, error.detail, 1))
            continue
        correction_id = content_id("correction", task.pair_id, annotator.name, text)
        corrections.append((correction_id, task.pair_id, annotator.name, annotator.kind, text, request_id, None, None))
    return corrections, failures


def _correction(annotator: Annotator, task: CorrectionTask, response: bytes, asked_model: str | None) -> str:
    """The correction in a raw reply. Raises RequestError, of kind refused where the annotator declined to write one.

    A correction may itself decline: that is for the question, and the annotator's reply has its marks.
    """
    ruled = ruling(annotator.read, response, asked_model)
    if not ruled.is_answer or ruled.completion is None:
        raise RequestError(ruled.verdict, ruled.detail)
    try:
        return annotator.correction(task, ruled.completion)
    except RequestError as error:
        if ruled.verdict is Verdict.REFUSED:
            raise RequestError("refused", ruled.completion.text[:300]) from error
        raise


def _identity(pipeline: Pipeline, config: AnnotatorConfig) -> dict[str, Any]:
    identity: dict[str, Any] = {"name": config.name, "kind": config.kind, "weight": config.weight}
    if config.kind == "model":
        principles = chosen(config.principles)
        identity["settings"] = [config.provider, config.model or config.name, config.sampling.model_dump()]
        identity["principles"] = [[principle.name, principle.version] for principle in principles]
        identity["template"] = TEMPLATE_VERSION
        more = {"extra_body", "protocol", "prompt_template", "max_tokens_name", "reported_as"}
        identity |= config.model_dump(include=more, exclude_defaults=True)
    if config.path is not None:
        from curate.sources.files import matching

        try:
            names = matching(pipeline.folder, config.path)
        except SourceError:
            names = []
        identity["recorded"] = [file_hash(pipeline.path(name)) for name in names]
        identity["columns"] = config.columns
    return identity
