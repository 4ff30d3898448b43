"""Ray Data's stage for HTTP requests."""

from __future__ import annotations

from typing import Any

import ray
from ray.data.llm import HttpRequestProcessorConfig, build_processor

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task, messages


def main(task: Task) -> None:
    """Run the whole job."""
    ray.init(include_dashboard=False, logging_level="ERROR")
    config = HttpRequestProcessorConfig(
        url=f"{task.base}/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        qps=None,
        concurrency=1,
        batch_size=task.concurrency,
    )

    def ask(row: dict[str, Any]) -> dict[str, Any]:
        body = {
            "model": task.model,
            "messages": messages(row["prompt"]),
            "max_tokens": MAX_TOKENS,
            "temperature": TEMPERATURE,
        }
        return {"id": row["id"], "payload": body}

    def keep(row: dict[str, Any]) -> dict[str, Any]:
        return {"id": row["id"], "response": row["http_response"]["choices"][0]["message"]["content"]}

    processor = build_processor(config, preprocess=ask, postprocess=keep)
    processor(ray.data.read_parquet(str(task.prompts))).write_parquet(str(task.output))


if __name__ == "__main__":
    main(Task.of_command_line())
