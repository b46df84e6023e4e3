"""Language models at work: the annotator who edits, the critic who names broken rules, the judge who compares."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from annotators.principles import Principle, listed, rules_of
from annotators.replies import read_edit, read_verdicts, read_violations
from annotators.template import Template, filled, marks_of
from schemas.records import (
    ComparisonTask,
    Completion,
    CompletionRequest,
    CorrectionTask,
    Provider,
    Response,
    Turn,
)

Task = TypeVar("Task")
Said = TypeVar("Said")


class Asked(Generic[Task, Said]):
    """One model behind one provider, one template, one kind of task."""

    def __init__(
        self,
        name: str,
        provider: Provider,
        turns: Callable[[Task, int], list[Turn]],
        said: Callable[[Task, Completion], Said],
    ) -> None:
        self.name = name
        self._provider = provider
        self._turns = turns
        self._said = said

    def request(self, task: Task, attempt: int = 0) -> CompletionRequest:
        """The call for this task; equal tasks make equal calls, which are paid once. attempt: from 0."""
        return self._provider.request(self._turns(task, attempt), attempt)

    async def complete(self, request: CompletionRequest) -> Response:
        """The provider's raw reply."""
        return await self._provider.complete(request)

    def read(self, response: bytes) -> Completion:
        """The completion in a raw reply. Raises RequestError where there is none."""
        return self._provider.read(response)

    def said(self, task: Task, completion: Completion) -> Said:
        """What the completion says to the task. Raises RequestError where it cannot be read."""
        return self._said(task, completion)

    async def close(self) -> None:
        """Close the provider."""
        await self._provider.close()


def annotator(
    name: str, provider: Provider, template: Template, principles: Sequence[Principle]
) -> Asked[CorrectionTask, str]:
    """A model that edits answers. One that differs from its answer only by white space around it is the answer."""
    marks, rules = marks_of(template), rules_of(principles)
    fixed = {"rules": listed(principles)}

    def turns(task: CorrectionTask, attempt: int) -> list[Turn]:
        broken = "\n".join(f"- {one}: {rules[one].strip()}" for one in task.violations if one in rules)
        critique = filled(template.critique, fixed | {"violations": broken}) if broken else ""
        fills = {**fixed, "question": marks.escaped(dialogue(task.question, task.turns)), "critique": critique}
        return template.turns(fills | {"answer": marks.escaped(task.answer)}, is_asked_again=attempt > 0)

    def said(task: CorrectionTask, completion: Completion) -> str:
        edit = read_edit(template, completion.text)
        if edit is None:
            return task.answer
        shown = (dialogue(task.question, task.turns), task.answer)
        if any(marks.escaped(text) != text for text in shown):
            edit = marks.restored(edit)
        return task.answer if edit == task.answer.strip() else edit

    return Asked(name, provider, turns, said)


def critic(
    name: str, provider: Provider, template: Template, principles: Sequence[Principle]
) -> Asked[CorrectionTask, dict[str, str]]:
    """A model that names the rules that an answer breaks, each with its reason."""
    marks, rules = marks_of(template), rules_of(principles)
    fixed = {"rules": listed(principles)}

    def turns(task: CorrectionTask, attempt: int) -> list[Turn]:
        shown = {"question": marks.escaped(dialogue(task.question, task.turns)), "answer": marks.escaped(task.answer)}
        return template.turns(fixed | shown, is_asked_again=attempt > 0)

    def said(_task: CorrectionTask, completion: Completion) -> dict[str, str]:
        return read_violations(completion.text, rules)

    return Asked(name, provider, turns, said)


def judge(
    name: str, provider: Provider, template: Template, principles: Sequence[Principle]
) -> Asked[ComparisonTask, dict[str, int]]:
    """A model that says which of two texts is the better answer: on each axis 1 for the first, -1 for the second."""
    marks = marks_of(template)
    fixed = {"rules": "\n".join(f"- {principle.name}: {principle.text.strip()}" for principle in principles)}

    def turns(task: ComparisonTask, attempt: int) -> list[Turn]:
        shown = {"question": dialogue(task.question, task.turns), "first": task.first, "second": task.second}
        fills = fixed | {slot: marks.escaped(text) for slot, text in shown.items()}
        return template.turns(fills, is_asked_again=attempt > 0)

    def said(_task: ComparisonTask, completion: Completion) -> dict[str, int]:
        return read_verdicts(completion.text)

    return Asked(name, provider, turns, said)


def dialogue(question: str, turns: Sequence[Turn]) -> str:
    """A question after its earlier turns, each under its speaker's name."""
    if not turns:
        return question
    return "\n\n".join([*(f"{turn.role}: {turn.text}" for turn in turns), f"user: {question}"])
