"""The stage in order: critiques, corrections, gates, the judge, one winner a pair, reports."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from curate.asking.estimate import Estimate, dry_estimate
from curate.asking.work import Ask
from curate.config.model import Pipeline
from curate.config.table import Bounds
from curate.embed.space import settings_of
from curate.gates.bounds import check_bounds, default_bounds
from curate.gates.registry import find_gates
from curate.identity import file_hash
from curate.ledger.journal import Ledger
from curate.progress import Progress
from curate.rules.registry import find_rules
from curate.stages.annotate.correcting import NAME, Corrections, critic_ask
from curate.stages.annotate.people import key_of_people
from curate.stages.annotate.planning import ORDERS, planned
from curate.stages.annotate.recipes import Staff, identity, staff_of
from curate.stages.annotate.work import Work
from curate.stages.preferences import key_of_preferences
from curate.store.run import RunStore

VERSION = 4


def key(pipeline: Pipeline, store: RunStore) -> dict[str, Any]:
    """The pairs' content, and of everybody who works here what the corrections and verdicts depend on."""
    config = pipeline.config.annotate
    decisions, bounds = config.overlap.decisions, gate_bounds(pipeline)
    rules = find_rules(sorted({ORDERS, *(route.rule for route in config.routes if route.rule)}))
    return {
        "stage": NAME,
        "version": VERSION,
        "pairs": store.published("dedup").content("pairs"),
        **key_of_preferences(store),
        **key_of_people(pipeline),
        "seed": pipeline.config.seed,
        "annotators": [identity(pipeline, one) for one in config.annotators],
        "critique": None if config.critique is None else identity(pipeline, config.critique),
        "judge": None
        if config.judge is None
        else identity(pipeline, config.judge) | {"min_preference": config.judge.min_preference},
        "routes": [route.model_dump(exclude_none=True) for route in config.routes],
        "rules": {name: rule.version for name, rule in rules.items()},
        "overlap": config.overlap.model_dump(exclude={"decisions"}),
        "decisions": file_hash(pipeline.path(decisions)) if decisions and pipeline.path(decisions).is_file() else None,
        "fallback": config.fallback,
        "gates": {name: [gate.version, bounds[name].model_dump()] for name, gate in find_gates(bounds).items()},
        **({"embedding": settings_of(pipeline).describe()} if config.overlap.embed else {}),
        "max_copy_share": config.max_copy_share,
    }


def gate_bounds(pipeline: Pipeline) -> dict[str, Bounds]:
    """The bounds of every gate that judges: where the configuration names one end, the other is the gate's own.

    Raises ConfigError at unknown gates, and at bounds that copies would leave.
    """
    config = pipeline.config.annotate
    find_gates([*config.gates, *config.gates_off])
    found = default_bounds()
    for name, bounds in config.gates.items():
        found[name] = Bounds.model_validate(found[name].model_dump() | bounds.model_dump(exclude_none=True))
    check_bounds(found)
    return {name: bounds for name, bounds in found.items() if name not in config.gates_off}


def run(pipeline: Pipeline, store: RunStore, key: dict[str, Any], progress: Progress) -> None:
    """Ask for what the ledger lacks, step by step; then decide, and write all tables in the order of the pairs."""
    with (
        store.draft(NAME, key, unit="task", kept="corrections") as draft,
        Ledger(pipeline.workdir / "ledger.sqlite") as ledger,
    ):
        work = Work(pipeline, store, ledger, draft, progress, gate_bounds(pipeline))
        work.criticise()
        work.correct()
        work.judge()
        work.decide()


def dry_run(pipeline: Pipeline, store: RunStore) -> list[Estimate]:
    """What a run would send now, model by model: the plan less the ledger. People are not in it.

    Corrections are counted as if the critiques that are missing named no rule; the judge's calls are not known before.
    """
    ledger = pipeline.workdir / "ledger.sqlite"

    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[Staff, list[Ask]]]:
        staff = staff_of(pipeline)
        try:
            with Ledger(ledger) as known:
                tasks = planned(pipeline, store, staff, known).tasks
            critic = [critic_ask(staff, store)] if staff.critic is not None else []
            yield staff, [*critic, *Corrections(pipeline, staff, tasks).asks(store)]
        finally:
            await staff.close()

    return dry_estimate(opened(), ledger, NAME)
