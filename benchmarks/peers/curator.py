"""Bespoke Curator with its own OpenAI backend and its limits out of the way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task


def run(task: Task, *, max_tokens: int, backend_params: Mapping[str, Any], batch: bool = False) -> None:
    """Run the whole job in its normal or its batch mode."""
    os.environ["CURATOR_CACHE_DIR"] = str(task.directory)  # read at import
    from bespokelabs import curator
    from datasets import Dataset

    class Asker(curator.LLM):  # type: ignore[misc]  # the package has no types
        """Sends the prompt as it is."""

        def prompt(self, row: dict[str, Any]) -> str:
            """Return the prompt of a row."""
            return str(row["prompt"])

        def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
            """Return the row of the result."""
            return {"id": row["id"], "response": response}

    asker = Asker(
        model_name=task.model,
        backend="openai",
        batch=batch,
        generation_params={"max_tokens": max_tokens, "temperature": TEMPERATURE},
        backend_params={"base_url": task.base, "api_key": KEY, **backend_params},
    )
    ids, prompts = task.read()
    found = asker(Dataset.from_dict({"id": ids, "prompt": prompts}), working_dir=str(task.directory))
    getattr(found, "dataset", found).to_parquet(str(task.output))


def main(task: Task) -> None:
    """Run the whole job, a request for each row."""
    limits = {
        "max_concurrent_requests": task.concurrency,
        "max_requests_per_minute": 10**9,
        "max_tokens_per_minute": 10**12,
    }
    run(task, max_tokens=MAX_TOKENS, backend_params=limits)


if __name__ == "__main__":
    main(Task.of_command_line())
