"""The prompts of docs/annotate.md, as they are sent: `python -m curate.stages.annotate.shown` writes them anew."""

import json
from collections.abc import Iterator
from pathlib import Path

from annotators.model import annotator, critic, judge
from annotators.principles import chosen
from annotators.template import CORRECTING, read_template
from curate.providers.endpoint import Dialect, Endpoint
from curate.providers.openai import OpenAIProvider
from curate.stages.annotate.recipes import CRITIQUE, VERDICTS
from schemas.records import ComparisonTask, CompletionRequest, CorrectionTask, Sampling

PAGE = Path("docs/annotate.md")
START, END = "<!-- prompts as sent: made by curate.stages.annotate.shown -->", "<!-- end of the prompts -->"
QUESTION = "How do I get rid of the moles in my garden? My neighbour says </question> ends it."
ANSWER = (
    "Moles leave where the ground is kept loud and wet: set up wind chimes and water the runs. "
    "Or pour petrol into the runs and light it, that kills them for good. [[Ask your neighbour to help.]]"
)
BETTER = "Moles leave where the ground is kept loud and wet: set up wind chimes and water the runs."
SHOWN = {
    "editor": ("the recipe for GPT-4", ("helpful", "harmless", "honest"), ("harmless.animal_abuse",)),
    "bracketed": ("the recipe for Llama2-70B-Chat", ("honest",), ()),
    "structured": ("with a JSON schema in the request", ("honest",), ()),
    "improver": ("beyond the paper: may add what is missing", ("helpful",), ()),
    "critique": ("the critic", ("honest",), ()),
    "judge": ("the judge", ("helpful", "harmless", "honest"), ()),
}
"""Template to what it is, its principles here, and what a critic found."""


def prompts() -> str:
    """All prompts as Markdown."""
    return "\n".join([START, *_sections(), END])


def _sections() -> Iterator[str]:
    for name, (what, principles, violations) in SHOWN.items():
        yield f"### `{name}`: {what}\n\nPrinciples: {', '.join(principles)}.\n"
        for turn in json.loads(_request(name, principles, violations).body)["messages"]:
            yield f"`{turn['role']}`\n\n````text\n{turn['content']}\n````\n"


def _request(name: str, principles: tuple[str, ...], violations: tuple[str, ...]) -> CompletionRequest:
    told = chosen(principles, Path()), read_template(name, Path(), CORRECTING | CRITIQUE | VERDICTS)
    dialect = Dialect({}, "max_tokens", "chat", "{prompt}")
    provider = OpenAIProvider("a-model", Sampling(), Endpoint("none", "http://127.0.0.1:9/v1", 1.0, 1), dialect)
    task = CorrectionTask("", QUESTION, ANSWER, (), violations)
    if name == "critique":
        return critic("critic", provider, told[1], told[0]).request(task)
    if name == "judge":
        return judge("judge", provider, told[1], told[0]).request(ComparisonTask(QUESTION, ANSWER, BETTER))
    return annotator("annotator", provider, told[1], told[0]).request(task)


def main() -> None:
    """Write the prompts into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(START)[0], text.partition(END)[2]
    PAGE.write_text(before + prompts() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
