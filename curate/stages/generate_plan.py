"""The plan of generate: which models are asked which prompts; and the prompts, some at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

from curate.asking.work import Call, reported_model
from curate.config.model import Pipeline
from curate.providers.verdict import Ruling, ruling
from curate.store.run import RunStore
from schemas.records import Provider, Turn

if TYPE_CHECKING:
    import polars as pl

PART_PROMPTS = 10_000
"""Prompts that are planned, and written as one shard of answers, at once."""


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

    def totals(self, store: RunStore, answered: "pl.DataFrame") -> list[int]:
        """How many calls the plan holds for each model, before any falls back on another."""
        totals = [0] * len(self._config.models)
        for frame in unanswered(parts(store, ["prompt_id"]), answered):
            for number, count in enumerate(self._is_asked(frame).sum().row(0)):
                totals[number] += count * self._config.samples_per_model
        return totals

    def calls(self, store: RunStore, number: int, answered: "pl.DataFrame") -> Iterator[Call]:
        """All calls of the plan for the model with this number, shard by shard."""
        samples = range(self._config.samples_per_model)
        for frame in unanswered(parts(store), answered):
            asked = frame.filter(self._is_asked(frame)[str(number)])
            orders = self.order(asked).to_list() if self._config.fallback else repeat([])
            for (prompt_id, turns, text), numbers in zip(asked.iter_rows(), orders, strict=False):
                dialogue = dialogue_of(turns, text)
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


def parts(store: RunStore, columns: list[str] | None = None) -> "Iterator[pl.DataFrame]":
    """The kept prompts, some at a time; of each its id, turns and text where nothing else is said."""
    for frame in store.frames("filter", "prompts", columns or ["prompt_id", "turns", "text"]):
        yield from frame.iter_slices(PART_PROMPTS)


def unanswered(prompts: "Iterator[pl.DataFrame]", answered: "pl.DataFrame") -> "Iterator[pl.DataFrame]":
    """Of prompts, some at a time, those whose id is not in `answered`."""
    for frame in prompts:
        yield frame.join(answered, on="prompt_id", how="anti", maintain_order="left")


def dialogue_of(turns: list[dict[str, str]], text: str) -> list[Turn]:
    """The turns of a prompt, its own text last."""
    asked = Turn("user", text)
    return [*(Turn(turn["role"], turn["text"]) for turn in turns), asked] if turns else [asked]
