"""Generate: upstream models answer the prompts. Every reply is in the ledger before it is read."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from curate.asking import Ask, Estimate, ask_all, dry_estimate
from curate.config.model import ModelConfig, Pipeline
from curate.identity import content_id, file_hash
from curate.ledger import KnownFailure, Ledger
from curate.progress import Progress
from curate.providers.faults import check_unicode
from curate.providers.making import make_provider
from curate.store.run import RunStore
from schemas.errors import RequestError, StageError
from schemas.records import Completion, CompletionRequest, Provider, Turn

if TYPE_CHECKING:
    import polars as pl

NAME = "generate"
VERSION = 1
NOT_ASKED = KnownFailure("not_asked", "the run ended before this call", 0)


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """The prompts' content, and of each model what its answers depend on: no URL, key, pace or price."""
    config = pipeline.config.generate
    return {
        "stage": NAME,
        "version": VERSION,
        "prompts": store.published("filter").content("prompts"),
        "seed": pipeline.config.seed,
        "answers_per_prompt": config.answers_per_prompt,
        "models": [
            {
                "name": model.name,
                "weight": model.weight,
                "settings_id": settings_id(model),
                **_recorded(pipeline, model),
            }
            for model in config.models
        ],
    }


def settings_id(model: ModelConfig) -> str:
    """Id of what was sent along with each prompt."""
    return content_id("settings", model.provider, model.model or model.name, model.sampling.model_dump())


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Ask for what the ledger lacks, then write answers and failures in the order of the plan."""
    config = pipeline.config.generate
    if not config.models:
        raise StageError(
            "no model is configured to answer prompts", do=f"add [[pipelines.{pipeline.name}.generate.models]]"
        )
    prompts = store.published("filter").rows("prompts")
    with (
        store.draft(NAME, key, unit="request", kept="answers") as draft,
        Ledger(pipeline.workdir / "ledger.sqlite") as ledger,
    ):
        providers = asyncio.run(_ask(pipeline, store, ledger, progress))
        for frame in store.frames("filter", "prompts"):
            answers, failures = _outcomes(pipeline, frame, providers, ledger)
            draft.write("answers", answers)
            draft.write("failures", failures)
        draft.publish(rows_in=prompts * config.answers_per_prompt)


def dry_run(pipeline: Pipeline, store: RunStore) -> list[Estimate]:
    """What a run would send now, model by model: the plan less the ledger."""
    return dry_estimate(_asks(pipeline, store), pipeline.workdir / "ledger.sqlite")


async def _ask(pipeline: Pipeline, store: RunStore, ledger: Ledger, progress: Progress) -> list[Provider]:
    async with _asks(pipeline, store) as (providers, asks):
        await ask_all(asks, ledger, NAME, pipeline.config.generate.budget_usd, progress.update)
        return providers


@asynccontextmanager
async def _asks(pipeline: Pipeline, store: RunStore) -> AsyncIterator[tuple[list[Provider], list[Ask]]]:
    """The models in their order, and what each is to be asked; their connections are closed at the end."""
    models = pipeline.config.generate.models
    providers = [make_provider(pipeline, model.name, model) for model in models]
    try:
        yield (
            providers,
            [
                Ask(model.name, provider, model, _requests(pipeline, store, number, provider), provider.read)
                for number, (model, provider) in enumerate(zip(models, providers, strict=True))
            ],
        )
    finally:
        for provider in providers:
            await provider.close()


def _requests(pipeline: Pipeline, store: RunStore, number: int, provider: Provider) -> Iterator[CompletionRequest]:
    """All calls of the plan that are the model's with this number, shard by shard."""
    for frame in store.frames("filter", "prompts"):
        is_asked = (_plan(pipeline, frame) == number).any(axis=1)
        for turns in _dialogues(frame.filter(is_asked)):
            yield provider.request(turns)


def _plan(pipeline: Pipeline, prompts: "pl.DataFrame") -> Any:
    """Positions of the models that answer each prompt, shape (prompts, answers_per_prompt)."""
    from curate.assignment import assign

    config = pipeline.config.generate
    names, weights = [model.name for model in config.models], [model.weight for model in config.models]
    return assign(prompts["prompt_id"].to_list(), names, weights, config.answers_per_prompt, pipeline.config.seed)


def _dialogues(prompts: "pl.DataFrame") -> Iterator[list[Turn]]:
    for turns, text in prompts.select("turns", "text").iter_rows():
        yield [*(Turn(turn["role"], turn["text"]) for turn in turns), Turn("user", text)]


def _outcomes(
    pipeline: Pipeline, prompts: "pl.DataFrame", providers: list[Provider], ledger: Ledger
) -> tuple["pl.DataFrame", "pl.DataFrame"]:
    """Answers and failures of one shard: the plan, joined with the ledger by request id, in the plan's order."""
    import polars as pl

    from schemas.tables import Answers, Failures

    models = pipeline.config.generate.models
    settings = [settings_id(model) for model in models]
    planned = [
        (prompt_id, number, providers[number].request(turns).request_id)
        for prompt_id, turns, numbers in zip(
            prompts["prompt_id"], _dialogues(prompts), _plan(pipeline, prompts).tolist(), strict=True
        )
        for number in numbers
    ]
    ids = [request_id for _, _, request_id in planned]
    responses = ledger.responses(ids)
    failed = ledger.failures(request_id for request_id in ids if request_id not in responses)
    answers, failures = [], []
    for prompt_id, number, request_id in planned:
        name = models[number].name
        if request_id not in responses:
            known = failed.get(request_id, NOT_ASKED)
            failures.append((f"{prompt_id}:{name}", NAME, known.kind, known.detail, known.attempts))
            continue
        try:
            completion = _answer(providers[number], responses[request_id])
        except RequestError as error:
            failures.append((f"{prompt_id}:{name}", NAME, error.kind, error.detail, 1))
            continue
        answer_id = content_id("answer", prompt_id, name, settings[number], completion.text)
        answers.append(
            (answer_id, prompt_id, name, completion.text, completion.finish_reason, settings[number], request_id)
        )
    return (
        pl.DataFrame(answers, schema=Answers.create_empty().schema, orient="row"),
        pl.DataFrame(failures, schema=Failures.create_empty().schema, orient="row"),
    )


def _answer(provider: Provider, response: bytes) -> Completion:
    """The reply, if it is a whole answer. Raises RequestError where it is cut off, filtered or empty."""
    completion = provider.read(response)
    if completion.finish_reason == "length":
        raise RequestError("truncated", f"cut off after {completion.output_tokens} tokens: raise max_tokens")
    if completion.finish_reason == "content_filter":
        raise RequestError("content_filter", completion.text[:300] or "the server filtered the reply")
    if not completion.text.strip():
        raise RequestError("empty_answer", "the reply holds no text")
    check_unicode(completion.text)
    return completion


def _recorded(pipeline: Pipeline, model: ModelConfig) -> dict[str, Any]:
    if model.path is None:
        return {}
    path = pipeline.path(model.path)
    return {"recorded": file_hash(path) if path.is_file() else None, "columns": model.columns}
