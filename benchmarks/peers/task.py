"""What a peer is given, and what it has to leave: answers.parquet with `id` and `response`, in any order."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TEMPERATURE = 0.7
MAX_TOKENS = 256
BATCH_MAX_TOKENS = 4096
"""More than any answer of the simulator has: Curator asks for a row again and again whose answer was cut."""
KEY = "sk-benchmark-0123456789"


@dataclass(frozen=True, slots=True)
class Task:
    """The words of the command line: where the prompts are, where the answers go, the server's base address (`…/v1`),
    the model, how many requests may be in flight (in batch modes: the lines of a batch), and a directory for whatever
    else the peer writes.
    """

    prompts: Path
    output: Path
    base: str
    model: str
    concurrency: int
    directory: Path

    @classmethod
    def of_command_line(cls) -> Task:
        """Return the task that this process was started for."""
        prompts, output, base, model, concurrency, directory = sys.argv[1:]
        return cls(Path(prompts), Path(output), base, model, int(concurrency), Path(directory))

    def read(self) -> tuple[list[int], list[str]]:
        """Return the ids and the prompts."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.prompts)
        return table["id"].to_pylist(), table["prompt"].to_pylist()

    def write(self, ids: Sequence[int], answers: Sequence[str]) -> None:
        """Write the answers."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"id": ids, "response": answers}), self.output, compression="zstd")

    async def ask_all(self, ask: Callable[[str], Awaitable[str]]) -> None:
        """Read, ask for every prompt with so many at a time, and write."""
        ids, prompts = self.read()
        free = asyncio.Semaphore(self.concurrency)

        async def ask_one(prompt: str) -> str:
            async with free:
                return await ask(prompt)

        self.write(ids, await asyncio.gather(*map(ask_one, prompts)))


def messages(prompt: str) -> list[dict[str, str]]:
    """Return the prompt as a chat."""
    return [{"role": "user", "content": prompt}]
