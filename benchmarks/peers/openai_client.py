"""OpenAI's own client, one task for each request: openai_client.py TASK…; with HTTP by aiohttp as openai_aiohttp.py."""

from __future__ import annotations

import asyncio
from typing import Any

from openai import AsyncOpenAI

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task, messages


async def run(task: Task, http_client: Any = None) -> None:
    """Run the whole job, over httpx unless another HTTP client is given."""
    async with AsyncOpenAI(base_url=task.base, api_key=KEY, http_client=http_client) as client:

        async def ask(prompt: str) -> str:
            asked: Any = messages(prompt)
            reply = await client.chat.completions.create(
                model=task.model, messages=asked, max_tokens=MAX_TOKENS, temperature=TEMPERATURE
            )
            return str(reply.choices[0].message.content)

        await task.ask_all(ask)


if __name__ == "__main__":
    asyncio.run(run(Task.of_command_line()))
