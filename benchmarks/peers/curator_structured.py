"""Bespoke Curator with answers that are objects."""

from __future__ import annotations

import json
import os
from typing import Any

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task


def main(task: Task) -> None:
    """Run the whole job."""
    os.environ["CURATOR_CACHE_DIR"] = str(task.directory)  # read at import
    from bespokelabs import curator
    from datasets import Dataset
    from pydantic import BaseModel

    class Answer(BaseModel):
        """What an answer has to be."""

        answer: str

    class Asker(curator.LLM):  # type: ignore[misc]  # the package has no types
        """Sends the prompt as it is."""

        response_format = Answer

        def prompt(self, row: dict[str, Any]) -> str:
            """Return the prompt of a row."""
            return str(row["prompt"])

        def parse(self, row: dict[str, Any], response: Any) -> dict[str, Any]:
            """Return the row of the result."""
            return {"id": row["id"], "response": json.dumps({"answer": response.answer})}

    asker = Asker(
        model_name=task.model,
        backend="openai",
        generation_params={"max_tokens": MAX_TOKENS, "temperature": TEMPERATURE},
        backend_params={
            "base_url": task.base,
            "api_key": KEY,
            "max_concurrent_requests": task.concurrency,
            "max_requests_per_minute": 10**9,
            "max_tokens_per_minute": 10**12,
        },
    )
    ids, prompts = task.read()
    found = asker(Dataset.from_dict({"id": ids, "prompt": prompts}), working_dir=str(task.directory))
    getattr(found, "dataset", found).to_parquet(str(task.output))


if __name__ == "__main__":
    main(Task.of_command_line())
