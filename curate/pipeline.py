"""Which stage is done, stale, waiting or failed; running one stage or all of them."""

import importlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from curate.config.model import Pipeline
from curate.identity import fingerprint
from curate.progress import Progress
from curate.store.lock import writer_lock
from curate.store.manifest import Manifest, State, state
from curate.store.releases import has_release
from curate.store.run import RunStore
from schemas.errors import CurateError, StageNotReadyError, UsageError, WaitingError

if TYPE_CHECKING:
    from curate.asking.estimate import Estimate

STAGES = {
    "import": ("curate.stages.import_prompts", ()),
    "filter": ("curate.stages.filter", ("import",)),
    "generate": ("curate.stages.generate", ("filter", "import")),
    "dedup": ("curate.stages.dedup", ("filter", "generate")),
    "annotate": ("curate.stages.annotate", ("dedup", "import")),
    "release": ("curate.stages.release", ("dedup", "annotate")),
    "train": ("curate.stages.train", ("release",)),
    "evaluate": ("curate.stages.evaluate", ("release", "train")),
}
"""Stage name to its module and the stages whose tables it reads, in order."""

READY = {"done", "waiting"}


@dataclass(frozen=True)
class StageStatus:
    """One stage as it is now. `key` is None while its inputs are not there; `problem` says what hinders it."""

    name: str
    state: State
    key: dict[str, Any] | None
    manifest: Manifest | None
    problem: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a call of `run` did with one stage."""

    name: str
    ran: bool
    status: StageStatus
    seconds: float = 0.0


def survey(pipeline: Pipeline) -> list[StageStatus]:
    """Every stage in order, judged by hashes; reads manifests and source files, loads no table."""
    store = RunStore(pipeline.workdir)
    found: dict[str, StageStatus] = {}
    for name in STAGES:
        found[name] = _status(pipeline, store, name, found)
    return list(found.values())


def run_all(
    pipeline: Pipeline, done: Callable[[Outcome], None], progress: Callable[[str], Progress] = Progress
) -> bool:
    """Run every stage that is not done, in order; False where people must act before it can go on."""
    with writer_lock(pipeline.workdir):
        for name in STAGES:
            outcome = _run_if_needed(pipeline, name, progress, again=False)
            done(outcome)
            if outcome.status.state == "waiting":
                return False
    return True


def run_stage(
    pipeline: Pipeline,
    name: str,
    done: Callable[[Outcome], None],
    progress: Callable[[str], Progress] = Progress,
    *,
    again: bool,
) -> bool:
    """Run one stage if it is not done, or `again`; False where people must act. `filter` imports by itself.

    Raises StageNotReadyError, which names the command that makes the missing input.
    """
    with writer_lock(pipeline.workdir):
        if name == "filter":
            done(_run_if_needed(pipeline, "import", progress, again=False))
        outcome = _run_if_needed(pipeline, name, progress, again=again)
        done(outcome)
    return outcome.status.state != "waiting"


def dry_run(pipeline: Pipeline, name: str) -> "list[Estimate]":
    """What a run of a stage that calls models would send now, model by model; sends nothing.

    Raises StageNotReadyError as `run_stage` does, UsageError for a stage that calls no model.
    """
    module = importlib.import_module(STAGES[name][0])
    if not hasattr(module, "dry_run"):
        raise UsageError(f"{name} calls no model: there is nothing to estimate", do="name generate or annotate")
    _check_parents(name, {status.name: status for status in survey(pipeline)})
    estimates: list[Estimate] = module.dry_run(pipeline, RunStore(pipeline.workdir))
    return estimates


def _check_parents(name: str, statuses: dict[str, StageStatus]) -> None:
    for parent in STAGES[name][1]:
        manifest = statuses[parent].manifest
        if statuses[parent].state == "waiting" and manifest is not None:
            raise WaitingError(
                f"{name} needs the stage {parent}, of which {manifest.accounting.waiting:,} rows wait for people",
                do=f"when they are done: curate run --stage {parent}",
            )
        if statuses[parent].state != "done":
            raise StageNotReadyError(
                f"{name} needs the stage {parent}, which is {statuses[parent].state}", do=f"curate run --stage {parent}"
            )


def _run_if_needed(pipeline: Pipeline, name: str, progress: Callable[[str], Progress], *, again: bool) -> Outcome:
    store = RunStore(pipeline.workdir)
    statuses = {status.name: status for status in survey(pipeline)}
    _check_parents(name, statuses)
    module = importlib.import_module(STAGES[name][0])
    if hasattr(module, "fetch"):
        module.fetch(pipeline, progress(name))
        statuses = {status.name: status for status in survey(pipeline)}
    status = statuses[name]
    if status.state in READY and not again:
        _settle(module, store)
        _offer(module, pipeline, store, progress(name))
        return Outcome(name, ran=False, status=status)
    if again and hasattr(module, "forget"):
        module.forget(store)
    key = status.key if status.key is not None else module.key(pipeline, store)
    started = time.monotonic()
    _note(pipeline, name, "started")
    try:
        module.run(pipeline, store, key, progress(name))
    except CurateError as error:
        _note(pipeline, name, "failed", error=error.what)
        raise
    seconds = time.monotonic() - started
    _note(pipeline, name, "published", seconds=round(seconds, 3))
    _settle(module, store)
    _offer(module, pipeline, store, progress(name))
    after = next(status for status in survey(pipeline) if status.name == name)
    return Outcome(name, ran=True, status=after, seconds=seconds)


def _offer(module: Any, pipeline: Pipeline, store: RunStore, progress: Progress) -> None:
    """What a stage hands to people after it published."""
    if hasattr(module, "offer"):
        module.offer(pipeline, store, progress)


def _settle(module: Any, store: RunStore) -> None:
    """What a stage kept only while it was at work goes; here, and not in its run, as a kill may come between."""
    if hasattr(module, "settle"):
        module.settle(store)


def _status(pipeline: Pipeline, store: RunStore, name: str, earlier: dict[str, StageStatus]) -> StageStatus:
    module, parents = STAGES[name]
    manifest = store.manifest(name)
    if any(earlier[parent].state != "done" for parent in parents):
        return StageStatus(name, "missing" if manifest is None else "stale", None, manifest)
    try:
        key = importlib.import_module(module).key(pipeline, store)
    except CurateError as error:
        return StageStatus(name, "missing" if manifest is None else "stale", None, manifest, error.what)
    if manifest is not None and (touched := store.touched(manifest)):
        problem = f"{touched} is missing or was changed since it was published; it will be made anew"
        return StageStatus(name, "stale", key, manifest, problem)
    if manifest is not None and "version" in manifest.notes and not has_release(pipeline.workdir, manifest):
        problem = f"release {manifest.notes['version']} is not there any more; it will be made anew"
        return StageStatus(name, "stale", key, manifest, problem)
    failed = store.failed(name)
    found = state(manifest, failed, fingerprint(key))
    return StageStatus(name, found, key, manifest, failed.what if failed is not None and found == "failed" else "")


def _note(pipeline: Pipeline, stage: str, event: str, **more: Any) -> None:
    """Append to the journal of the run directory: for people, never read by a stage."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with (pipeline.workdir / "journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write(json.dumps({"at": at, "stage": stage, "event": event, **more}) + "\n")
