"""Serve: what the endpoint adds to a request, and requests a second, beside the bare upstream and its own Aligner."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from form.measuring import Ratio, child, main

HERE = Path(__file__).parent
CLIENTS = 32
NEW_TOKENS = 32
CHAT = {"model": "m", "messages": [{"role": "user", "content": "How do I move a small team to a new tool?"}]}
OFF = {**CHAT, "aligner": {"off": True}}


@contextmanager
def process(argv: list[str], log: Path) -> Iterator[str]:
    """A server that prints its first line when it answers; ended with the block."""
    with log.open("w") as errors:
        running = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        assert running.stdout is not None
        yield running.stdout.readline().strip()
    finally:
        running.terminate()
        running.wait(60)


async def ask(url: str, body: dict[str, Any], requests: int, clients: int) -> tuple[float, float]:
    """Requests a second, and the median of their seconds."""
    seconds: list[float] = []
    left = iter(range(requests))

    async def client(session: aiohttp.ClientSession) -> None:
        for _ in left:
            started = time.perf_counter()
            async with session.post(url, json=body) as response:
                found = await response.json()
                assert response.status == 200, found
            seconds.append(time.perf_counter() - started)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients)) as session:
        await warm(session, url, body)
        started = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        return requests / (time.perf_counter() - started), statistics.median(seconds)


async def warm(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> None:
    """One request before the clock runs."""
    async with session.post(url, json=body) as response:
        await response.read()


def measure(folder: Path, shrunk: Callable[[int], int]) -> tuple[dict[str, Ratio], list[str]]:
    """All figures."""
    many, few = shrunk(1_000), shrunk(200)
    child([sys.executable, HERE / "form" / "served_aligner.py", folder / "aligner"], folder)
    answering = [sys.executable, str(HERE / "form" / "answering_server.py"), "0", "0"]
    with process(answering, folder / "upstream.err") as port:
        upstream = f"http://127.0.0.1:{port}/v1"
        serve = [str(Path(sys.executable).parent / "curate"), "serve", "--upstream", upstream, "--port", "0"]
        options = ["--aligner", str(folder / "aligner"), "--max-new-tokens", str(NEW_TOKENS), "--device", "cpu"]
        with process([*serve, *options], folder / "serve.err") as line:
            endpoint = line.split()[0]
            cases = {
                "bare upstream": (upstream, CHAT, many),
                "endpoint, Aligner off": (endpoint, OFF, many),
                "endpoint, Aligner on": (endpoint, CHAT, few),
            }
            found = {
                (name, clients): asyncio.run(ask(f"{url}/chat/completions", body, count, clients))
                for name, (url, body, count) in cases.items()
                for clients in (1, CLIENTS)
            }
    lines = [
        f"{name:<22} {clients:>3} at once: {rate:>8,.0f} requests/s, median {median_s * 1000:>8.2f} ms"
        for (name, clients), (rate, median_s) in found.items()
    ]
    lines.append(
        f"the Aligner: size tiny, untrained, always {NEW_TOKENS} new tokens, one thread; no model is behind it"
    )
    lines.append(f"load average at the end: {os.getloadavg()[0]:.1f}")
    added_s = found["endpoint, Aligner off", 1][1] - found["bare upstream", 1][1]
    batching = found["endpoint, Aligner on", CLIENTS][0] / found["endpoint, Aligner on", 1][0]
    return {
        "added ms, Aligner off": Ratio(added_s * 1000, 10.0, False, "median of a request beside the bare upstream's"),
        "batching": Ratio(batching, 2.0, True, f"corrections a second, {CLIENTS} clients over one"),
    }, lines


if __name__ == "__main__":
    main("serve", measure)
