"""A bare aiohttp loop, Parquet in and out: aiohttp_loop.py PROMPTS OUTPUT URL MODEL CONCURRENCY [BODY]

It reads all prompts, sends them from so many tasks over kept connections, keeps the answers in memory, and writes them
at the end. No retry, no limit, no journal: what is not answered with 200 ends it. BODY is a JSON object: what each
request has besides, or instead.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.limits.exchange import HEADERS, answer_in, body_of


async def send_all(
    prompts: list[str], url: str, model: str, concurrency: int, further: dict[str, Any]
) -> list[tuple[str, int]]:
    """Every prompt's answer and its tokens."""
    answers: list[tuple[str, int]] = [("", 0)] * len(prompts)
    waiting = iter(enumerate(prompts))

    async def work(session: aiohttp.ClientSession) -> None:
        for at, prompt in waiting:
            async with session.post(url, json={**body_of(prompt, url, model), **further}) as reply:
                reply.raise_for_status()
                answers[at] = answer_in(await reply.json())

    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=HEADERS) as session:
        await asyncio.gather(*(work(session) for _ in range(concurrency)))
    return answers


def main(prompts: str, output: str, url: str, model: str, concurrency: str, further: str = "{}") -> None:
    """Run the whole program."""
    table = pq.read_table(prompts)
    answers = asyncio.run(send_all(table["prompt"].to_pylist(), url, model, int(concurrency), json.loads(further)))
    texts, tokens = zip(*answers, strict=True)
    pq.write_table(pa.table({"id": table["id"], "response": texts, "total_tokens": tokens}), output, compression="zstd")


if __name__ == "__main__":
    main(*sys.argv[1:])
