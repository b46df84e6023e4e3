"""Generate: upstream models answer the prompts. Every reply is in the ledger before it is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.asking.chain import NOT_ASKED
from curate.asking.estimate import Estimate, dry_estimate
from curate.asking.loop import run_calls
from curate.asking.stage_calls import Limits, ask_all
from curate.asking.work import Ask
from curate.config.model import ModelConfig, Pipeline
from curate.identity import content_id, file_hash
from curate.ledger.journal import KnownFailure, Ledger
from curate.progress import Progress
from curate.providers.making import make_provider
from curate.providers.verdict import Ruling, Verdict
from curate.stages.generate_plan import Plan, dialogue_of, parts, unanswered
from curate.stages.preferences import answers_of_preferences, key_of_preferences, prompts_with_preferences
from curate.store.run import RunStore
from schemas.errors import StageError
from schemas.records import Provider

if TYPE_CHECKING:
    import polars as pl

NAME = "generate"
VERSION = 2
NO_MODEL = ("no_model", "the prompt has no preference, and no model is configured to answer it", 0)
READ_PROMPTS = 2_000
"""Prompts whose raw replies are in memory at once."""


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """Content of prompts and preferences, and of each model what its answers depend on: no URL, key, pace or price."""
    config = pipeline.config.generate
    return {
        "stage": NAME,
        "version": VERSION,
        "prompts": store.published("filter").content("prompts"),
        "seed": pipeline.config.seed,
        "answers_per_prompt": config.answers_per_prompt,
        "samples_per_model": config.samples_per_model,
        "fallback": config.fallback,
        "models": [
            {
                "name": model.name,
                "weight": model.weight,
                "settings_id": settings_id(model),
                "reported_as": model.reported_as,
                **_recorded(pipeline, model),
            }
            for model in config.models
        ],
        **key_of_preferences(store),
    }


def settings_id(model: ModelConfig) -> str:
    """Id of what was sent along with each prompt."""
    more = model.model_dump(
        include={"system", "extra_body", "protocol", "prompt_template", "max_tokens_name"}, exclude_defaults=True
    )
    parts = (model.provider, model.model or model.name, model.sampling.model_dump())
    return content_id("settings", *parts, *([more] if more else []))


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Ask for what the ledger lacks, then write answers and failures in the order of the plan.

    Prompts that have preferences are asked of no model: their answers are the rejected ones.
    """
    import polars as pl

    config = pipeline.config.generate
    if not config.models and not all(source.preferences for source in pipeline.config.sources):
        raise StageError(
            "no model is configured to answer prompts", do=f"add [[pipelines.{pipeline.name}.generate.models]]"
        )
    answered = prompts_with_preferences(store)
    with (
        store.draft(NAME, key, unit="request", kept="answers") as draft,
        Ledger(pipeline.workdir / "ledger.sqlite") as ledger,
    ):
        providers = run_calls(_ask(pipeline, store, ledger, answered, progress)) if config.models else []
        planned = prompts_asked = rejected_answers = 0
        for prompts in parts(store):
            (asked,) = unanswered(iter([prompts]), answered)
            answers, failures = _outcomes(pipeline, asked, providers, ledger)
            rejected = answers_of_preferences(store, prompts)
            planned += answers.height + failures.height
            prompts_asked += asked.height
            rejected_answers += rejected.height
            draft.write("answers", pl.concat([answers, rejected], rechunk=True) if rejected.height else answers)
            draft.write("failures", failures)
        if rejected_answers:
            progress.say(f"{rejected_answers:,} answers are those of preferences: their prompts are asked of no model")
        first = prompts_asked * (config.answers_per_prompt * config.samples_per_model if config.models else 1)
        draft.publish(rows_in=(max(planned, first) if config.fallback else first) + rejected_answers)


def dry_run(pipeline: Pipeline, store: RunStore) -> list[Estimate]:
    """What a run would send now, model by model: the plan less the ledger."""
    if not pipeline.config.generate.models:
        return []
    asks = _asks(pipeline, store, prompts_with_preferences(store))
    return dry_estimate(asks, pipeline.workdir / "ledger.sqlite", NAME)


async def _ask(
    pipeline: Pipeline, store: RunStore, ledger: Ledger, answered: "pl.DataFrame", progress: Progress
) -> list[Provider]:
    async with _asks(pipeline, store, answered) as (providers, asks):
        limits = Limits(pipeline.config.budget_usd, pipeline.config.generate.budget_usd)
        await ask_all(asks, ledger, NAME, limits, progress)
        return providers


@asynccontextmanager
async def _asks(
    pipeline: Pipeline, store: RunStore, answered: "pl.DataFrame"
) -> AsyncIterator[tuple[list[Provider], list[Ask]]]:
    """The models in their order, and what each is to be asked; their connections are closed at the end."""
    models = pipeline.config.generate.models
    providers = [make_provider(pipeline, model.name, model) for model in models]
    try:
        plan = Plan(pipeline, providers)
        totals = plan.totals(store, answered)
        yield (
            providers,
            [
                Ask(model.name, provider, model, plan.calls(store, number, answered), totals[number], provider)
                for number, (model, provider) in enumerate(zip(models, providers, strict=True))
            ],
        )
    finally:
        for provider in providers:
            await provider.close()


def _outcomes(
    pipeline: Pipeline, prompts: "pl.DataFrame", providers: list[Provider], ledger: Ledger
) -> tuple["pl.DataFrame", "pl.DataFrame"]:
    """Answers and failures of one shard: the plan, joined with the ledger by request id, in the plan's order."""
    import polars as pl

    from schemas.tables import Answers, Failures

    schemas = (Answers.create_empty().schema, Failures.create_empty().schema)
    if not providers:
        failures = [(prompt_id, NAME, *NO_MODEL) for prompt_id in prompts["prompt_id"]]
        return Answers.create_empty(), pl.DataFrame(failures, schema=schemas[1], orient="row")
    plan = Plan(pipeline, providers)
    found: list[list[pl.DataFrame]] = [[pl.DataFrame(schema=schema)] for schema in schemas]
    for some in prompts.iter_slices(READ_PROMPTS):
        for frames, schema, rows in zip(found, schemas, _rows(pipeline, some, plan, ledger), strict=True):
            frames.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return pl.concat(found[0]), pl.concat(found[1])


def _rows(pipeline: Pipeline, prompts: "pl.DataFrame", plan: Plan, ledger: Ledger) -> tuple[list[Any], list[Any]]:
    """Rows of answers and of failures of some prompts, by prompt, sample and the prompt's order of models."""
    config = pipeline.config.generate
    table = [
        (prompt_id, dialogue_of(turns, text), numbers)
        for (prompt_id, turns, text), numbers in zip(
            prompts.select("prompt_id", "turns", "text").iter_rows(), plan.order(prompts).to_list(), strict=True
        )
    ]
    found: dict[tuple[int, int, int], _Outcome] = {}
    asked = [
        (row, sample_index, place)
        for row in range(len(table))
        for sample_index in range(config.samples_per_model)
        for place in range(config.answers_per_prompt)
    ]
    next_place: dict[tuple[int, int], int] = {}
    while asked:
        outcomes = _read([(key, plan.at(*table[key[0]], *key[1:])) for key in asked], plan, ledger)
        found |= outcomes
        asked = []
        for (row, sample_index, _), outcome in outcomes.items():
            place = next_place.get((row, sample_index), config.answers_per_prompt)
            if config.fallback and outcome.failure is not None and place < len(table[row][2]):
                next_place[row, sample_index] = place + 1
                asked.append((row, sample_index, place))
    answers: list[Any] = []
    failures: list[Any] = []
    settings = [settings_id(model) for model in config.models]
    for (row, sample_index, _), outcome in sorted(found.items()):
        prompt_id, name = table[row][0], config.models[outcome.number].name
        if outcome.failure is not None:
            row_id = f"{prompt_id}:{name}" + (f":{sample_index}" if sample_index else "")
            failures.append((row_id, NAME, outcome.failure.kind, outcome.failure.detail, outcome.failure.attempts))
            continue
        ruled, completion = outcome.ruled, outcome.ruled.completion
        if completion is None:
            raise AssertionError
        parts = (prompt_id, name, settings[outcome.number], completion.text, *([sample_index] if sample_index else []))
        is_refusal = ruled.verdict is Verdict.REFUSED
        answers.append(
            (
                *(content_id("answer", *parts), prompt_id, name, sample_index, completion.text, is_refusal),
                *(completion.finish_reason, settings[outcome.number], outcome.request_id),
            )
        )
    return answers, failures


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one call: a ruling on its reply, or why there is no answer."""

    number: int
    request_id: str
    ruled: Ruling
    failure: KnownFailure | None


def _read(
    asked: list[tuple[tuple[int, int, int], tuple[int, str]]], plan: Plan, ledger: Ledger
) -> dict[tuple[int, int, int], _Outcome]:
    ids = [request_id for _, (_, request_id) in asked]
    responses = ledger.responses(ids)
    failed = ledger.failures(request_id for request_id in ids if request_id not in responses)
    outcomes = {}
    for key, (number, request_id) in asked:
        if request_id in responses:
            ruled = plan.rule(number, responses[request_id])
            failure = None if ruled.is_answer else KnownFailure(ruled.verdict, ruled.detail, 1)
        else:
            ruled = Ruling(Verdict.EMPTY)
            failure = failed.get(request_id, NOT_ASKED)
        outcomes[key] = _Outcome(number, request_id, ruled, failure)
    return outcomes


def _recorded(pipeline: Pipeline, model: ModelConfig) -> dict[str, Any]:
    if model.path is None:
        return {}
    path = pipeline.path(model.path)
    return {"recorded": file_hash(path) if path.is_file() else None, "columns": model.columns}
