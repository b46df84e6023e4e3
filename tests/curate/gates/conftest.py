"""Rows as the annotate stage hands them to gates, from the few texts that a case is about."""

from collections.abc import Callable

import polars as pl
import pytest

from curate.gates.registry import Context, find_gates
from curate.gates.scoring import score

TURNS = pl.List(pl.Struct({"role": pl.String, "text": pl.String}))
INSTRUCTION = "Keep what is right: its wording, order, language and form. Change only what a principle calls for."
CONTEXT = Context(("<correction>", "</correction>", "<answer>", "</answer>", " "), (INSTRUCTION, "Be kind."))


def rows(*cases: dict[str, object]) -> pl.DataFrame:
    """One row a case; what a case does not name is unremarkable."""
    usual = {"question": "How are you?", "turns": [], "answer": "Fine.", "correction": "Well.", "is_flagged": None}
    made = [usual | case | {"correction_id": f"c{number}"} for number, case in enumerate(cases)]
    types = {"turns": TURNS, "is_flagged": pl.Boolean}
    names = ("correction_id", *usual)
    return pl.DataFrame(made, schema={name: types.get(name, pl.String) for name in names})


@pytest.fixture
def scored() -> Callable[..., float]:
    """The score of one gate on one row."""

    def one(gate: str, **case: object) -> float:
        return score(rows(case), find_gates([gate]), CONTEXT)[gate].item()

    return one
