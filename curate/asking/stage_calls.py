"""All calls of one stage: every model at once, limits of money, progress, Ctrl-C."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from curate.asking.batching import Batcher
from curate.asking.dispatch import Dispatcher
from curate.asking.money import Account, account
from curate.asking.running import Running
from curate.asking.watching import watch
from curate.asking.work import Ask, Model
from curate.ledger.journal import Ledger
from curate.progress import Progress
from schemas.errors import StageError


@dataclass(frozen=True)
class Limits:
    """Hard limits in USD over all runs: of the whole working directory, and of one stage; models have their own."""

    run_usd: Decimal | None
    stage_usd: Decimal | None


async def ask_all(asks: list[Ask], ledger: Ledger, stage: str, limits: Limits, progress: Progress) -> None:
    """Ask every model at once for its missing replies; each reply is in the ledger before this returns.

    Raises StageError when a model stopped or a budget is used up, after all others have ended; KeyboardInterrupt after
    Ctrl-C, when what was in flight has come back (a second Ctrl-C does not wait for it).
    """
    running = Running(asks, _accounts(asks, ledger, stage, limits), ledger, stage)
    watcher = asyncio.create_task(watch(running.models, progress))
    try:
        with _drained_by_ctrl_c(running, progress):
            async with asyncio.TaskGroup() as tasks:
                for group in _groups(running.models):
                    if group[0].ask.config.mode == "batch":
                        tasks.create_task(Batcher(group[0], running, progress).run())
                    else:
                        tasks.create_task(Dispatcher(group, running).run())
    except ExceptionGroup as group:
        raise _first(group) from None
    finally:
        watcher.cancel()
    if running.is_draining:
        raise KeyboardInterrupt
    running.pass_on_rest()
    is_anybody_left = any(not model.stopped for model in running.models)
    stopped = []
    for model in running.models:
        is_lost = model.is_left or (model.is_stranded and not is_anybody_left)
        if model.stopped and model.passes_on and not is_lost:
            progress.say(f"{model.ask.name} stopped, and others took over: {model.stopped}")
        elif model.stopped:
            stopped.append(f"{model.ask.name}: {model.stopped}")
    if stopped:
        done = sum(model.meter.done for model in running.models)
        raise StageError(
            f"stopped early, {done:,} new replies are kept in the ledger; " + "; ".join(stopped),
            do="remove the cause and run the stage again: only what is missing will be asked",
        )


def _accounts(asks: list[Ask], ledger: Ledger, stage: str, limits: Limits) -> list[list[Account]]:
    shared = [
        account("the pipeline", limits.run_usd, ledger.spent_nano_usd()),
        account(f"the stage {stage}", limits.stage_usd, ledger.spent_nano_usd(stage)),
    ]
    shared = [one for one in shared if one.limit_nano_usd is not None]
    return [
        [*shared, account(ask.name, ask.config.budget_usd, ledger.spent_nano_usd(stage, ask.name))]
        if ask.config.budget_usd is not None
        else shared
        for ask in asks
    ]


def _groups(models: list[Model]) -> list[list[Model]]:
    """Models that share a limit; each batch model is alone."""
    groups: dict[str, list[Model]] = {}
    for model in models:
        config = model.ask.config
        is_shared = config.limit_group is not None and config.mode == "online"
        groups.setdefault(f"group {config.limit_group}" if is_shared else f"model {model.number}", []).append(model)
    return list(groups.values())


def _first(group: Exception) -> Exception:
    while isinstance(group, ExceptionGroup):
        group = group.exceptions[0]
    return group


@contextmanager
def _drained_by_ctrl_c(running: Running, progress: Progress) -> Iterator[None]:
    """Ctrl-C or TERM: send nothing more and wait for what is in flight; the second one does not wait."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        if running.is_draining and task is not None:
            task.cancel()
            return
        running.is_draining = True
        in_flight = sum(model.meter.in_flight for model in running.models if model.ask.config.mode == "online")
        progress.say(f"waiting for {in_flight:,} calls in flight, nothing more is sent; once more to stop at once")
        running.ring()

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)
    except (ValueError, RuntimeError):
        yield  # not in the main thread: signals are the caller's business
        return
    try:
        yield
    except asyncio.CancelledError:
        if not running.is_draining:
            raise
        raise KeyboardInterrupt from None
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
