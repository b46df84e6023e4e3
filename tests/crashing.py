"""Kills a run between two of its writes: an audit hook counts what touches the run directory, SIGKILL does the rest.

The hook needs no help from our code. It sees every file that Python opens, renames, removes or makes a folder for
below the run directory, just before it happens.
"""

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

TOUCHES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree", "sqlite3.connect"}

PRELOADED = [
    "aiohttp",
    "anthropic",
    "openai",
    "curate.cli",
    "curate.pipeline",
    "curate.stages.import_prompts",
    "curate.stages.filter",
    "curate.stages.generate",
    "curate.stages.dedup",
    "curate.stages.annotate",
    "curate.stages.release",
    "curate.stages.train",
    "curate.stages.evaluate",
    "curate.rules.judging",
    "curate.embed",
    "curate.training.lora",
    "curate.training.models",
    "curate.training.loop",
    "curate.training.writing",
    "dataframely",
    "faiss",
    "sentence_transformers",
    "transformers.models.llama.modeling_llama",
    "transformers.models.bert.modeling_bert",
    "transformers.generation.utils",
]


def touches_of(config: Path, stage: str) -> int:
    """How often a whole run of `stage` touches its run directory."""
    code, count = _child(config, stage, None)
    assert code == 0, f"the undisturbed run of {stage} ended with {code}"
    return count


def die_at(config: Path, stage: str, touch: int) -> None:
    """Run `stage` in a process that is killed just before its touch with this number, counted from 1."""
    code, _ = _child(config, stage, touch)
    assert code == -signal.SIGKILL, (
        f"the run of {stage} should have been killed at touch {touch}, but ended with {code}"
    )


def _child(config: Path, stage: str, touch: int | None) -> tuple[int | None, int]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    counted = context.Value("i", 0)
    process = context.Process(target=_run, args=(str(config), stage, touch, counted))
    process.start()
    process.join(120)
    return process.exitcode, counted.value


def _run(config: str, stage: str, touch: int | None, counted: Any) -> None:
    from curate.config.reading import read_pipeline
    from curate.pipeline import run_stage

    pipeline = read_pipeline(Path(config))
    home = str(pipeline.workdir)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in TOUCHES and arguments and str(arguments[0]).startswith(home):
            counted.value += 1
            if counted.value == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.addaudithook(hook)
    run_stage(pipeline, stage, lambda _: None, again=False)
