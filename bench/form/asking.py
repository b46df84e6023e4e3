"""The stage `generate` beside a server of ours: starts the server, prepares prompts, runs the command line."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from form.measuring import Measured, child
from form.questions import write_questions

HERE = Path(__file__).parent
CURATE = Path(sys.executable).parent / "curate"

CONFIG = """
[pipelines.bench]
workdir = "run"

[[pipelines.bench.sources]]
path = "prompts.jsonl"
field = "prompt"
license = "MIT"

[[pipelines.bench.generate.models]]
name = "made-up"
provider = "{provider}"
base_url = "{url}"
max_in_flight = {width}
sampling = {{ max_tokens = 64 }}
{pace}
"""


@dataclass(frozen=True)
class Calls:
    """What the server saw, in order of arrival: arrival, reply and status of each call, in seconds of one clock."""

    seen: list[tuple[float, float, int]]

    @cached_property
    def answered(self) -> list[tuple[float, float]]:
        """Arrival and reply of the calls that got an answer."""
        return [(arrived, replied) for arrived, replied, status in self.seen if status == 200]

    @property
    def first_s(self) -> float:
        """When the first call came."""
        return self.seen[0][0]

    @property
    def seconds(self) -> float:
        """From the first arrival to the last reply."""
        return max(replied for _, replied in self.answered) - self.first_s


@dataclass(frozen=True)
class Server:
    """A running server. One is started for each figure, so that nothing is left over from the one before."""

    root: str

    @property
    def url(self) -> str:
        """Base URL of OpenAI's protocol."""
        return f"{self.root}/v1"

    def calls(self) -> Calls:
        """All calls so far."""
        return Calls(sorted((arrived, replied, status) for arrived, replied, status in self._get("times")))

    def answered(self) -> int:
        """Calls answered so far; for runs whose list of times would be large."""
        return int(self._get("counts")["answered"])

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.root}/{path}") as reply:
            return json.load(reply)


@contextmanager
def answering(latency_s: float, requests_per_minute: int = 0) -> Iterator[Server]:
    """A server in a process of its own."""
    argv = [sys.executable, HERE / "answering_server.py", str(latency_s), str(requests_per_minute)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Asked:
    """One run of the stage: the process, when it was started, and the stage's own seconds."""

    process: Measured
    started_s: float
    seconds: float
    kept: int


class Prompts:
    """Folders with prompts that were imported and filtered; each size is made once and copied for each run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0

    def fresh(self, rows: int) -> Path:
        """A new folder with `rows` prompts, filtered, nothing asked yet."""
        made = self._folder / f"prompts-{rows}"
        if not made.is_dir():
            made.mkdir()
            write_questions(made / "prompts.jsonl", rows)
            configure(made, "http://127.0.0.1:9", width=1)
            kept = stage(made, "filter").kept
            assert kept == rows, f"the filter kept {kept} of {rows} questions"
        self._runs += 1
        return Path(shutil.copytree(made, self._folder / f"run-{self._runs}"))


def configure(folder: Path, url: str, width: int, pace: str = "", provider: str = "openai") -> None:
    """One model with this address, width and pace."""
    text = CONFIG.format(url=url, width=width, pace=pace, provider=provider)
    (folder / "pipelines.toml").write_text(text, encoding="utf-8")


def stage(folder: Path, name: str) -> Asked:
    """`curate run --stage NAME` to its end."""
    started_s = time.monotonic()
    done = child([CURATE, "run", "--stage", name, "-c", folder / "pipelines.toml", "--json"], folder)
    last = json.loads(done.output)["stages"][-1]
    return Asked(done, started_s, last["seconds"], last["accounting"]["kept"])


def dry_run(folder: Path) -> tuple[float, int]:
    """Wall seconds of `curate run --stage generate --dry-run`, and how many calls it says are to be sent."""
    argv = [CURATE, "run", "--stage", "generate", "--dry-run", "-c", folder / "pipelines.toml", "--json"]
    done = child(argv, folder)
    return done.wall_s, sum(model["to_send"] for model in json.loads(done.output))
