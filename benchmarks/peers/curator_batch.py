"""Bespoke Curator in its batch mode, with so many lines in a batch."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.peers.task import BATCH_MAX_TOKENS, KEY, TEMPERATURE, Task


def main(task: Task) -> None:
    """Run the whole job."""
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
        batch=True,
        generation_params={"max_tokens": BATCH_MAX_TOKENS, "temperature": TEMPERATURE},
        backend_params={
            "base_url": task.base,
            "api_key": KEY,
            "batch_size": task.concurrency,
            "batch_check_interval": 1,
        },
    )
    ids, prompts = task.read()
    found = asker(Dataset.from_dict({"id": ids, "prompt": prompts}), working_dir=str(task.directory))
    getattr(found, "dataset", found).to_parquet(str(task.output))


if __name__ == "__main__":
    main(Task.of_command_line())
