"""Peer of bench/generate.py: the bare OpenAI SDK, its client as it comes, a semaphore around each call."""

import asyncio
import json
import sys
from importlib.metadata import version
from pathlib import Path

import openai


async def main(url: str, path: str, width: int) -> None:
    """Ask for all answers and write them once, at the end."""
    prompts = [json.loads(line)["prompt"] for line in Path(path).read_text(encoding="utf-8").splitlines()]
    client = openai.AsyncOpenAI(api_key="none", base_url=url)
    free = asyncio.Semaphore(width)

    async def answer(prompt: str) -> str | None:
        async with free:
            messages = [{"role": "user", "content": prompt}]
            reply = await client.chat.completions.create(model="made-up", messages=messages, max_tokens=64)
            return reply.choices[0].message.content

    answers = await asyncio.gather(*(answer(prompt) for prompt in prompts))
    Path(path).with_name("theirs.json").write_text(json.dumps(answers), encoding="utf-8")
    print(json.dumps({"rows": len(answers), "version": version("openai")}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
