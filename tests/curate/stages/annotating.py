"""Pipelines for the annotate stage: recorded answers, and annotators behind the fault server."""

import json
from pathlib import Path
from typing import Any

from curate.config.model import Pipeline
from curate.config.reading import read_pipeline
from curate.pipeline import run_stage
from tests.conftest import lines
from tests.llm_server import LLMServer

ANSWER = "The {place} tower was built in {year} and is {height} feet tall. Visitors like the view from its top."
PLACES = ["Arden", "Birk", "Corvo", "Dunmere", "Eskdale", "Fenwick", "Garth", "Holm", "Iver", "Jarrow", "Kelso", "Lund"]


def questions(count: int) -> list[str]:
    """Questions that dedup does not take for one."""
    return [f"How tall is the {PLACES[n % 12]} tower number {n}, and when was it built?" for n in range(count)]


def answer_to(question: str) -> str:
    """What the recorded upstream model says."""
    number = int(question.split("number ")[1].split(",", maxsplit=1)[0])
    return ANSWER.format(
        place=question.split("the ")[1].split(" tower", maxsplit=1)[0], year=1500 + number, height=100 + 7 * number
    )


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def table(header: str, keys: dict[str, Any]) -> str:
    """One table of the file."""
    return f"{header}\n" + "".join(f"{json.dumps(name)} = {toml(value)}\n" for name, value in keys.items())


def served_by(server: LLMServer, name: str, provider: str = "openai", **keys: Any) -> dict[str, Any]:
    """An annotator, critic or judge behind the server."""
    base = server.url + ("/v1" if provider == "openai" else "")
    return {"name": name, "kind": "model", "provider": provider, "base_url": base, **keys}


def pipeline(
    folder: Path,
    annotators: list[dict[str, Any]],
    pairs: list[tuple[str, str]] | int = 8,
    annotate: dict[str, Any] | None = None,
    tables: dict[str, dict[str, Any]] | None = None,
    **keys: Any,
) -> Pipeline:
    """A pipeline whose pairs are published, up to the annotate stage.

    pairs: questions with their answers, or how many. annotate: keys of that section; tables: tables below it, such as
    critique, judge and overlap; a list of tables where the name ends in s. keys: of the pipeline.
    """
    asked = [(question, answer_to(question)) for question in questions(pairs)] if isinstance(pairs, int) else pairs
    lines(folder / "prompts.jsonl", [{"text": question} for question, _ in asked])
    lines(folder / "answers.jsonl", [{"prompt": q, "model": "upstream", "answer": a} for q, a in asked])
    parts = [
        table("[pipelines.p]", {"seed": 5, **keys}),
        table("[[pipelines.p.sources]]", {"path": "prompts.jsonl", "field": "text", "license": "MIT"}),
        table("[[pipelines.p.generate.models]]", {"name": "upstream", "provider": "recorded", "path": "answers.jsonl"}),
        table("[pipelines.p.filter.thresholds]", {"length.characters": {"min": 1}}),
        table("[pipelines.p.annotate]", annotate or {}),
    ]
    parts += [table("[[pipelines.p.annotate.annotators]]", one) for one in annotators]
    for name, one in (tables or {}).items():
        if isinstance(one, list):
            parts += [table(f"[[pipelines.p.annotate.{name}]]", each) for each in one]
        else:
            parts.append(table(f"[pipelines.p.annotate.{name}]", {k: v for k, v in one.items() if k != "kind"}))
    (folder / "pipelines.toml").write_text("\n".join(parts), encoding="utf-8")
    made = read_pipeline(folder / "pipelines.toml")
    for stage in ("filter", "generate", "dedup"):
        run_stage(made, stage, lambda _: None, again=False)
    return made


def annotate(made: Pipeline, *, again: bool = False) -> None:
    """Run the stage."""
    run_stage(made, "annotate", lambda _: None, again=again)


def answer_in(prompt: str) -> str:
    """The answer that a template shows, in tags or under headings."""
    if "##Answer:\n" in prompt:
        return (
            prompt.split("##Answer:\n")[1]
            .split("\n\nEdit this answer.", maxsplit=1)[0]
            .split("\n\n##Critique:", maxsplit=1)[0]
        )
    return prompt.split("<answer>\n")[1].split("\n</answer>", maxsplit=1)[0]
