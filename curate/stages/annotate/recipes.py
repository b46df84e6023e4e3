"""Who works in this stage and what each is told; the ids of those words, for the provenance of corrections."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from annotators.model import annotator, critic, judge
from annotators.principles import Principle, chosen, listed, rules_of
from annotators.replies import SCHEMA
from annotators.template import CORRECTING, Template, own_names, read_template
from curate.asking.chain import Chain
from curate.asking.work import Ask, Call
from curate.config.annotating import PRINCIPLES, AnnotateConfig, AnnotatorConfig, CritiqueConfig, JudgeConfig
from curate.config.model import Pipeline
from curate.gates.registry import Context
from curate.identity import content_id, file_hash, request_key
from curate.providers.making import make_provider
from schemas.errors import ConfigError, SourceError
from schemas.records import Annotator, ComparisonTask, CompletionRequest, CorrectionTask, Provider

PEOPLE = "people"
IN_KEY = ("workflow", "draft", "overlap", "inspect_share")
"""Of people, what their corrections depend on."""
CRITIQUE, VERDICTS = frozenset({"violations"}), frozenset({"verdicts"})
Instructed = AnnotatorConfig | CritiqueConfig | JudgeConfig


@dataclass(frozen=True)
class Recipe:
    """What a model is told."""

    principles: list[Principle]
    template: Template

    @cached_property
    def principles_id(self) -> str:
        """Content id of the principles, in their order."""
        return content_id("principles", msgspec.to_builtins(self.principles))

    @cached_property
    def template_id(self) -> str:
        """Content id of the template."""
        return content_id("template", msgspec.to_builtins(self.template))

    def rows(self) -> Iterator[tuple[str, str, str, int, str]]:
        """recipe_id, kind, name, version and the words as JSON: of the template, and of the principles together."""
        template = msgspec.json.encode(msgspec.to_builtins(self.template)).decode()
        yield self.template_id, "template", self.template.name, self.template.version, template
        names = ", ".join(f"{one.name} {one.version}" for one in self.principles)
        words = msgspec.json.encode(msgspec.to_builtins(self.principles)).decode()
        yield self.principles_id, "principles", names, max((one.version for one in self.principles), default=0), words


def recipe_of(pipeline: Pipeline, config: Instructed) -> Recipe:
    """Raises ConfigError where a principle or the template is unknown or broken."""
    wanted = CORRECTING if isinstance(config, AnnotatorConfig) else VERDICTS
    if isinstance(config, CritiqueConfig):
        wanted = CRITIQUE
    try:
        template = read_template(config.template, pipeline.folder, wanted)
        return Recipe(chosen(config.principles, pipeline.folder), template)
    except ConfigError as error:
        raise ConfigError(f"{config.name}: {error.what}", do=error.do) from error


def all_recipes(pipeline: Pipeline) -> dict[str, Recipe]:
    """What every model of the stage is told, by its name."""
    config = pipeline.config.annotate
    told: list[Instructed] = [one for one in config.annotators if one.kind == "model"]
    told += [one for one in (config.critique, config.judge) if one is not None]
    recipes = {one.name: recipe_of(pipeline, one) for one in told}
    _check(config, recipes)
    return recipes


def _check(config: AnnotateConfig, recipes: dict[str, Recipe]) -> None:
    """What only shows when principles and templates are read. Raises ConfigError."""
    for one in config.annotators:
        told = recipes.get(one.name)
        if told is not None and told.template.reply == "json" and one.protocol == "completions":
            raise ConfigError(
                f"{one.name}: the template {told.template.name} wants JSON by a schema", do='use protocol = "chat"'
            )
    if config.judge is not None:
        names = {principle.name for principle in recipes[config.judge.name].principles}
        if missing := sorted(set(PRINCIPLES) - names):
            raise ConfigError(
                f"{config.judge.name} judges on {', '.join(PRINCIPLES)}, but is not told of {', '.join(missing)}",
                do="name these principles, or files of your own that have these names",
            )
    if config.critique is not None:
        principles = recipes[config.critique.name].principles
        known = [*(principle.name for principle in principles), *rules_of(principles)]
        for wanted in (route.violates for route in config.routes):
            if wanted is not None and wanted not in known:
                near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
                hint = f'; did you mean "{near[0]}"?' if near else ""
                raise ConfigError(
                    f'a route wants answers that violate "{wanted}", which the critic does not know{hint}',
                    do=f"it knows: {', '.join(known)}",
                )


def context_of(recipes: Iterable[Recipe]) -> Context:
    """All that annotators were told, so that gates recognise it.

    Marks are those of our own templates, too, since a hostile text may try any; without a letter they are code's.
    """
    told = list(recipes)
    ours = [read_template(name, Path(), CORRECTING | CRITIQUE | VERDICTS) for name in own_names()]
    every = [mark for template in (*ours, *(one.template for one in told)) for mark in template.marks]
    marks = {mark for mark in every if any(sign.isalpha() for sign in mark)}
    words = {text for one in told for text in (one.template.system, one.template.user, one.template.reminder)}
    return Context(tuple(sorted(marks)), tuple(sorted(words | {listed(one.principles) for one in told})))


@dataclass(frozen=True)
class Staff:
    """Everybody who can be called; None in the place of people. `recipes` by name."""

    annotators: "list[Chain[CorrectionTask, str] | None]"
    critic: "Chain[CorrectionTask, dict[str, str]] | None"
    judge: "Chain[ComparisonTask, dict[str, int]] | None"
    recipes: dict[str, Recipe]
    providers: dict[str, Provider]

    async def close(self) -> None:
        """Give back connections."""
        for chain in (*self.annotators, self.critic, self.judge):
            if chain is not None:
                await chain.respondent.close()

    def ask(self, chain: "Chain[Any, Any]", calls: Iterator[Call], total: int, *, passes_on: bool = False) -> Ask:
        """The share of one model in the calls of a step."""
        name = chain.respondent.name
        return Ask(name, chain.respondent, chain.config, calls, total, self.providers.get(name), passes_on)


def staff_of(pipeline: Pipeline) -> Staff:
    """Everybody who works in this stage. Raises ConfigError where a key or a recipe is missing, SourceError."""
    config = pipeline.config.annotate
    recipes, providers = all_recipes(pipeline), {}

    def provider(name: str, one: Instructed, schema: dict[str, Any] | None = None) -> Provider:
        providers[name] = make_provider(pipeline, name, one, schema)
        return providers[name]

    annotators: list[Chain[CorrectionTask, str] | None] = []
    for number, one in enumerate(config.annotators):
        if one.kind == PEOPLE:
            annotators.append(None)
            continue
        place = number - sum(earlier is None for earlier in annotators)
        if one.kind == "recorded":
            annotators.append(Chain(place, _recorded(pipeline, one), one, 1))
            continue
        told = recipes[one.name]
        schema = SCHEMA if told.template.reply == "json" else None
        asked = annotator(one.name, provider(one.name, one, schema), told.template, told.principles)
        annotators.append(Chain(place, asked, one, one.max_asks))
    the_critic = the_judge = None
    if (critique := config.critique) is not None:
        told = recipes[critique.name]
        asked_critic = critic(critique.name, provider(critique.name, critique), told.template, told.principles)
        the_critic = Chain(0, asked_critic, critique, critique.max_asks)
    if (judging := config.judge) is not None:
        told = recipes[judging.name]
        asked_judge = judge(judging.name, provider(judging.name, judging), told.template, told.principles)
        the_judge = Chain(0, asked_judge, judging, judging.max_asks)
    return Staff(annotators, the_critic, the_judge, recipes, providers)


def identity(pipeline: Pipeline, config: Instructed) -> dict[str, Any]:
    """What the texts of one model, or of recorded corrections, depend on: no URL, key, pace or price."""
    found: dict[str, Any] = {"name": config.name}
    if isinstance(config, AnnotatorConfig):
        found |= {"kind": config.kind, "weight": config.weight, "quota": config.quota}
        if config.kind == "recorded":
            return found | {"recorded": _hashes(pipeline, config), "columns": config.columns}
        if config.kind == PEOPLE:
            return found | config.model_dump(include=set(IN_KEY), exclude_defaults=True)
    told = recipe_of(pipeline, config)
    more = {"extra_body", "protocol", "prompt_template", "max_tokens_name", "reported_as"}
    return {
        **found,
        "max_asks": config.max_asks,
        "settings": [config.provider, config.model or config.name, config.sampling.model_dump()],
        "principles": told.principles_id,
        "template": told.template_id,
        **config.model_dump(include=more, exclude_defaults=True),
    }


def _hashes(pipeline: Pipeline, config: AnnotatorConfig) -> list[str]:
    from curate.sources.files import matching

    try:
        names = matching(pipeline.folder, str(config.path))
    except SourceError:
        names = []
    return [file_hash(pipeline.path(name)) for name in names]


def _recorded(pipeline: Pipeline, config: AnnotatorConfig) -> Annotator:
    from annotators.recorded import RecordedCorrections
    from curate.providers.recorded import recorded_rows
    from curate.sources.files import matching

    columns = [config.columns.get(ours, ours) for ours in ("question", "answer", "correction")]
    names = matching(pipeline.folder, str(config.path))
    recorded = [row for name in names for row in recorded_rows(pipeline.path(name), name, columns)]
    hashes = [file_hash(pipeline.path(name)) for name in names]

    def request_of(task: CorrectionTask) -> CompletionRequest:
        turns = {"turns": task.turns} if task.turns else {}
        body = msgspec.json.encode({"files": hashes, "question": task.question, "answer": task.answer, **turns})
        return CompletionRequest(request_key("recorded", config.name, body), "recorded", config.name, body)

    return RecordedCorrections(config.name, recorded, request_of)
