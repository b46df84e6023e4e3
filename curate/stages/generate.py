"""Generate: upstream models answer the prompts. Every reply is in the ledger before it is read."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

from curate.asking.estimate import Estimate, dry_estimate
from curate.asking.loop import run_calls
from curate.asking.stage_calls import Limits, ask_all
from curate.asking.work import Ask, Call, reported_model
from curate.config.model import ModelConfig, Pipeline
from curate.identity import content_id, file_hash
from curate.ledger.journal import KnownFailure, Ledger
from curate.progress import Progress
from curate.providers.making import make_provider
from curate.providers.verdict import Ruling, Verdict, ruling
from curate.store.run import RunStore
from schemas.errors import StageError
from schemas.records import Provider, Turn

if TYPE_CHECKING:
    import polars as pl

NAME = "generate"
VERSION = 2
NOT_ASKED = KnownFailure("not_asked", "the run ended before this call", 0)
PART_PROMPTS = 10_000
"""Prompts that are planned, and written as one shard of answers, at once."""
READ_PROMPTS = 2_000
"""Prompts whose raw replies are in memory at once."""


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """The prompts' content, and of each model what its answers depend on: no URL, key, pace or price."""
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
    }


def settings_id(model: ModelConfig) -> str:
    """Id of what was sent along with each prompt."""
    more = model.model_dump(
        include={"system", "extra_body", "protocol", "prompt_template", "max_tokens_name"}, exclude_defaults=True
    )
    parts = (model.provider, model.model or model.name, model.sampling.model_dump())
    return content_id("settings", *parts, *([more] if more else []))


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Ask for what the ledger lacks, then write answers and failures in the order of the plan."""
    if not pipeline.config.generate.models:
        raise StageError(
            "no model is configured to answer prompts", do=f"add [[pipelines.{pipeline.name}.generate.models]]"
        )
    with (
        store.draft(NAME, key, unit="request", kept="answers") as draft,
        Ledger(pipeline.workdir / "ledger.sqlite") as ledger,
    ):
        providers = run_calls(_ask(pipeline, store, ledger, progress))
        planned = 0
        for prompts in _parts(store):
            answers, failures = _outcomes(pipeline, prompts, providers, ledger)
            planned += answers.height + failures.height
            draft.write("answers", answers)
            draft.write("failures", failures)
        config = pipeline.config.generate
        first = store.published("filter").rows("prompts") * config.answers_per_prompt * config.samples_per_model
        draft.publish(rows_in=max(planned, first) if config.fallback else first)


def dry_run(pipeline: Pipeline, store: RunStore) -> list[Estimate]:
    """What a run would send now, model by model: the plan less the ledger."""
    return dry_estimate(_asks(pipeline, store), pipeline.workdir / "ledger.sqlite", NAME)


async def _ask(pipeline: Pipeline, store: RunStore, ledger: Ledger, progress: Progress) -> list[Provider]:
    async with _asks(pipeline, store) as (providers, asks):
        limits = Limits(pipeline.config.budget_usd, pipeline.config.generate.budget_usd)
        await ask_all(asks, ledger, NAME, limits, progress)
        return providers


@asynccontextmanager
async def _asks(pipeline: Pipeline, store: RunStore) -> AsyncIterator[tuple[list[Provider], list[Ask]]]:
    """The models in their order, and what each is to be asked; their connections are closed at the end."""
    models = pipeline.config.generate.models
    providers = [make_provider(pipeline, model.name, model) for model in models]
    try:
        plan = Plan(pipeline, providers)
        totals = plan.totals(store)
        yield (
            providers,
            [
                Ask(model.name, provider, model, plan.calls(store, number), totals[number], provider)
                for number, (model, provider) in enumerate(zip(models, providers, strict=True))
            ],
        )
    finally:
        for provider in providers:
            await provider.close()


class Plan:
    """Which models are asked which prompts, how often, and who comes next where one gave no answer.

    Each prompt has all models in an order of its own; the first answers_per_prompt are asked, and with `fallback` one
    more for each that gave no answer: those asked are always the first so many of that order.
    """

    def __init__(self, pipeline: Pipeline, providers: Sequence[Provider]) -> None:
        self._config, self._seed, self._providers = pipeline.config.generate, pipeline.config.seed, providers
        self._reported = [reported_model(model, model.name) for model in self._config.models]
        self._without_answer: Counter[tuple[str, int]] = Counter()

    def order(self, prompts: "pl.DataFrame") -> "pl.Series":
        """Numbers of the models of each prompt, the first to be asked first: a list for each prompt."""
        from curate.assignment import assign

        config = self._config
        count = len(config.models) if config.fallback else config.answers_per_prompt
        return assign(prompts["prompt_id"], *self._named(), count, self._seed)

    def totals(self, store: RunStore) -> list[int]:
        """How many calls the plan holds for each model, before any falls back on another."""
        totals = [0] * len(self._config.models)
        for frame in _parts(store, ["prompt_id"]):
            for number, count in enumerate(self._is_asked(frame).sum().row(0)):
                totals[number] += count * self._config.samples_per_model
        return totals

    def calls(self, store: RunStore, number: int) -> Iterator[Call]:
        """All calls of the plan for the model with this number, shard by shard."""
        samples = range(self._config.samples_per_model)
        for frame in _parts(store):
            asked = frame.filter(self._is_asked(frame)[str(number)])
            orders = self.order(asked).to_list() if self._config.fallback else repeat([])
            for (prompt_id, turns, text), numbers in zip(asked.iter_rows(), orders, strict=False):
                dialogue = _dialogue(turns, text)
                for sample_index in samples:
                    yield self.call(number, prompt_id, dialogue, sample_index, numbers)

    def _is_asked(self, prompts: "pl.DataFrame") -> "pl.DataFrame":
        """Whether a prompt is among those of a model: a column for each model, named by its number."""
        from curate.assignment import is_assigned

        return is_assigned(prompts["prompt_id"], *self._named(), self._config.answers_per_prompt, self._seed)

    def _named(self) -> tuple[list[str], list[float]]:
        models = self._config.models
        return [model.name for model in models], [model.weight for model in models]

    def call(self, number: int, prompt_id: str, dialogue: list[Turn], sample_index: int, numbers: list[int]) -> Call:
        """One call; with `fallback` it knows who is asked instead."""
        request = self._providers[number].request(self.said_to(number, dialogue), sample_index)
        if not self._config.fallback:
            return Call(request)
        return Call(request, partial(self._instead, prompt_id, dialogue, sample_index, numbers))

    def said_to(self, number: int, dialogue: list[Turn]) -> list[Turn]:
        """A dialogue with the model's own system prompt."""
        system = self._config.models[number].system
        return [Turn("system", system), *dialogue] if system else dialogue

    def at(
        self, prompt_id: str, dialogue: list[Turn], numbers: list[int], sample_index: int, place: int
    ) -> tuple[int, str]:
        """The model at a place of the prompt's order, and the id of its call."""
        number = numbers[place]
        return number, self.call(number, prompt_id, dialogue, sample_index, numbers).request.request_id

    def rule(self, number: int, response: bytes) -> Ruling:
        """The ruling on a recorded reply of the model with this number."""
        return ruling(self._providers[number].read, response, self._reported[number])

    def _instead(
        self, prompt_id: str, dialogue: list[Turn], sample_index: int, numbers: list[int], ruled: Ruling | None
    ) -> tuple[int, Call] | None:
        if ruled is not None and ruled.is_answer:
            return None
        place = self._config.answers_per_prompt + self._without_answer[prompt_id, sample_index]
        self._without_answer[prompt_id, sample_index] += 1
        if place >= len(numbers):
            return None
        number = numbers[place]
        return number, self.call(number, prompt_id, dialogue, sample_index, numbers)


def _parts(store: RunStore, columns: list[str] | None = None) -> "Iterator[pl.DataFrame]":
    """The prompts, some at a time; of each its id, turns and text where nothing else is said."""
    for frame in store.frames("filter", "prompts", columns or ["prompt_id", "turns", "text"]):
        yield from frame.iter_slices(PART_PROMPTS)


def _dialogue(turns: list[dict[str, str]], text: str) -> list[Turn]:
    asked = Turn("user", text)
    return [*(Turn(turn["role"], turn["text"]) for turn in turns), asked] if turns else [asked]


def _outcomes(
    pipeline: Pipeline, prompts: "pl.DataFrame", providers: list[Provider], ledger: Ledger
) -> tuple["pl.DataFrame", "pl.DataFrame"]:
    """Answers and failures of one shard: the plan, joined with the ledger by request id, in the plan's order."""
    import polars as pl

    from schemas.tables import Answers, Failures

    schemas = (Answers.create_empty().schema, Failures.create_empty().schema)
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
        (prompt_id, _dialogue(turns, text), numbers)
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
