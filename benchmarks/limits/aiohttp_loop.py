"""A bare aiohttp loop, Parquet in and out: aiohttp_loop.py PROMPTS OUTPUT URL MODEL CONCURRENCY

It reads all prompts, sends them from so many tasks over kept connections, keeps the answers in memory, and writes them
at the end. No retry, no limit, no journal: what is not answered with 200 ends it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq

PARAMETERS = {"max_tokens": 256, "temperature": 0.7}


def body_of(prompt: str, url: str, model: str) -> dict[str, Any]:
    """The request in the envelope of the path."""
    messages = [{"role": "user", "content": prompt}]
    if url.endswith("/api/v1"):
        return {"model": model, "data": {"messages": messages, **PARAMETERS}}
    return {"model": model, "messages": messages, **PARAMETERS}


def answer_in(reply: dict[str, Any]) -> tuple[str, int]:
    """The text of a reply and its tokens."""
    if "result" in reply:
        return reply["result"]["response"], reply["result"]["usage"]["total_tokens"]
    return reply["choices"][0]["message"]["content"], reply["usage"]["total_tokens"]


async def send_all(prompts: list[str], url: str, model: str, concurrency: int) -> list[tuple[str, int]]:
    """Every prompt's answer and its tokens."""
    answers: list[tuple[str, int]] = [("", 0)] * len(prompts)
    waiting = iter(enumerate(prompts))

    async def work(session: aiohttp.ClientSession) -> None:
        for at, prompt in waiting:
            async with session.post(url, json=body_of(prompt, url, model)) as reply:
                reply.raise_for_status()
                answers[at] = answer_in(await reply.json())

    headers = {"Authorization": "Bearer sk-benchmark-0123456789"}
    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        await asyncio.gather(*(work(session) for _ in range(concurrency)))
    return answers


def main(prompts: str, output: str, url: str, model: str, concurrency: str) -> None:
    """The whole program."""
    table = pq.read_table(prompts)
    answers = asyncio.run(send_all(table["prompt"].to_pylist(), url, model, int(concurrency)))
    texts, tokens = zip(*answers, strict=True)
    pq.write_table(pa.table({"id": table["id"], "response": texts, "total_tokens": tokens}), output, compression="zstd")


if __name__ == "__main__":
    main(*sys.argv[1:])
