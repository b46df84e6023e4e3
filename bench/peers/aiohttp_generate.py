"""Limit of bench/generate.py: workers on bare aiohttp that keep nothing. What this machine and the server allow."""

import asyncio
import json
import sys
from importlib.metadata import version
from pathlib import Path

import aiohttp


async def main(url: str, path: str, width: int) -> None:
    """Ask for all answers; the first call alone, as a run does."""
    lines = iter(Path(path).read_text(encoding="utf-8").splitlines())
    answers = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=width)) as session:

        async def ask(line: str) -> None:
            body = {"model": "made-up", "messages": [{"role": "user", "content": json.loads(line)["prompt"]}]}
            async with session.post(f"{url}/chat/completions", json=body) as reply:
                answers.append(await reply.read())

        async def work() -> None:
            for line in lines:
                await ask(line)

        await ask(next(lines))
        await asyncio.gather(*(work() for _ in range(width)))
    print(json.dumps({"rows": len(answers), "version": version("aiohttp")}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
