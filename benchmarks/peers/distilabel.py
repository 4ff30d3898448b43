"""distilabel: a pipeline of one text generation."""

from __future__ import annotations

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task


def main(task: Task) -> None:
    """Run the whole job."""
    rows = [{"id": row, "instruction": prompt} for row, prompt in zip(*task.read(), strict=True)]
    with Pipeline(name="peer", cache_dir=task.directory) as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=task.concurrency)
        model = OpenAILLM(
            model=task.model,
            base_url=task.base,
            api_key=KEY,
            generation_kwargs={"max_new_tokens": MAX_TOKENS, "temperature": TEMPERATURE},
        )
        load >> TextGeneration(llm=model, input_batch_size=task.concurrency)
    found = pipeline.run(use_cache=False)["default"]["train"]
    task.write(found["id"], found["generation"])


if __name__ == "__main__":
    main(Task.of_command_line())
