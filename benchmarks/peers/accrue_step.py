"""accrue with one step of one field; its answers are JSON objects."""

from __future__ import annotations

import json

from accrue import EnrichmentConfig, LLMStep, Pipeline

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task


def main(task: Task) -> None:
    """Run the whole job."""
    ids, prompts = task.read()
    step = LLMStep(
        "step",
        fields={"answer": "The answer"},
        model=task.model,
        base_url=task.base,
        api_key=KEY,
        temperature=TEMPERATURE,
        max_tokens=MAX_TOKENS,
    )
    config = EnrichmentConfig(
        max_workers=task.concurrency,
        enable_progress_bar=False,
        checkpoint_dir=str(task.directory),
        cache_dir=str(task.directory),
    )
    found = Pipeline([step]).run([{"prompt": prompt} for prompt in prompts], config).data
    task.write(ids, [json.dumps({"answer": row["answer"]}) for row in found])


if __name__ == "__main__":
    main(Task.of_command_line())
