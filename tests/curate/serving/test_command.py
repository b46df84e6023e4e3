"""`curate serve` as a process: many clients at once, health meanwhile, keys, logs, signals, and what is told at start."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from curate.serving.running import listen, load_all
from schemas.errors import StageError, UsageError
from tests.curate.serving.running import Serving, chat, until
from tests.curate.serving.taught import corrected, question
from tests.llm_server import FATAL_KEY

CURATE = [sys.executable, "-m", "curate", "serve"]
SECRET = "sk-secret-of-the-test"


class Process:
    """A running `curate serve`, and what it logged."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "UPSTREAM_KEY": SECRET}
        with log.open("w") as file:
            command = [*CURATE, *arguments, "--port", "0", "--json", "--max-new-tokens", "24", "--device", "cpu"]
            self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, env=environment, text=True)
        told = "".join(iter(self.popen.stdout.readline, "}\n")) + "}"
        self.serving = Serving(json.loads(told)["url"].removesuffix("/v1"))

    def end(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)


@pytest.fixture
def process(server, taught_folder, tmp_path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        folder = ["--aligner", str(taught_folder), "--upstream", f"{server.url}/v1"]
        started.append(Process(tmp_path / "log", *folder, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.popen.kill()
        one.popen.wait()
        one.popen.stdout.close()


async def ask_all(running: Serving, numbers: range, stream: bool) -> dict[int, str]:
    """The answers to the questions of many clients at once."""

    async def ask(client: openai.AsyncOpenAI, number: int) -> tuple[int, str]:
        found = await client.chat.completions.create(**chat(question(number)), stream=stream)
        if not stream:
            return number, found.choices[0].message.content
        return number, "".join([piece.choices[0].delta.content or "" async for piece in found])

    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0, timeout=120) as client:
        return dict(await asyncio.gather(*(ask(client, number) for number in numbers)))


def test_a_hundred_clients_each_get_their_own_and_health_answers_meanwhile(process, server):
    server.latency_s = lambda: 0.2
    running = process().serving
    waits, ended = [], threading.Event()

    def look() -> None:
        while not ended.is_set():
            started_s = time.monotonic()
            assert running.get("/health").json()["status"] == "ok"
            waits.append(time.monotonic() - started_s)

    looking = threading.Thread(target=look)
    looking.start()
    for stream, numbers in ((False, range(100)), (True, range(100, 200))):
        found = asyncio.run(ask_all(running, numbers, stream))
        assert found == {number: corrected(number) for number in numbers}
    ended.set()
    looking.join()
    assert len(waits) > 10
    assert max(waits) < 2.0
    assert running.metric("curate_batch_rows_count") < 150, "answers were corrected together"


def test_a_process_with_a_key_of_its_own_logs_no_key_and_no_text_and_ends_in_peace(process, server):
    started = process("--upstream-key-env", "UPSTREAM_KEY")
    with started.serving.client(FATAL_KEY) as client:
        assert client.chat.completions.create(**chat(question(4))).choices[0].message.content == corrected(4)
    started.serving.get(f"/v1/files?key={SECRET}")
    server.faults.append((401, {}, b'{"error": {"message": "A private answer"}}'))
    started.serving.post(chat("A private question"), headers={"Authorization": f"Bearer {SECRET}"})
    server.latency_s = lambda: 1.0
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.append(started.serving.asked(question(6)).content))
    asking.start()
    until(lambda: len(server.bodies) == 3)
    assert started.end() == 0
    asking.join()
    assert found == [corrected(6)], "what is in the house is finished"
    log = started.log.read_text()
    lines = [tuple(line.split()[2:5]) for line in log.splitlines()]
    chats = [("POST", "chat", status) for status in ("200", "401", "200")]
    assert lines == [chats[0], ("GET", "other", "200"), *chats[1:]]
    for private in (FATAL_KEY, SECRET, "private", "Answer to", "Traceback"):
        assert private not in log


def test_a_wrong_call_is_told(taught_folder, server, tmp_path):
    for arguments, told in (
        (["--upstream", "localhost:8000"], "is no address"),
        (["--upstream", server.url, "--upstream-key-env", "NOT_SET_ANYWHERE"], "holds no key"),
    ):
        done = subprocess.run(
            [*CURATE, "--aligner", str(taught_folder), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert told in done.stderr
    with pytest.raises(UsageError, match="in use"):
        listen("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    with pytest.raises(StageError, match="is no Aligner"):
        load_all([str(taught_folder), str(tmp_path)], "cpu")


def test_replies_are_not_held_back():
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP, "else asyncio leaves Nagle's algorithm on: 40 ms a reply"


def test_a_missing_extra_is_named():
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "sys.argv = ['curate', 'serve', '--aligner', 'x', '--upstream', 'http://127.0.0.1:9/v1']\n"
        "from curate.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'install the "serve" extra' in done.stderr
