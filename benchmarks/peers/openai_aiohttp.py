"""OpenAI's own client over aiohttp, which it offers for more requests at a time."""

from __future__ import annotations

import asyncio

from openai import DefaultAioHttpClient

from benchmarks.peers.openai_client import run
from benchmarks.peers.task import Task

if __name__ == "__main__":
    asyncio.run(run(Task.of_command_line(), DefaultAioHttpClient()))
