"""async-batch-llm over OpenAI's client, with its store of answers, which a second run reuses."""

from __future__ import annotations

import asyncio

from async_batch_llm import (
    ArtifactIdentity,
    JsonlArtifactStore,
    OpenAIModel,
    OpenAIStrategy,
    ResumePolicy,
    process_prompts,
)

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task


async def answers(task: Task, prompts: list[str]) -> list[str]:
    """Ask for every prompt."""
    model = OpenAIModel.from_api_key(
        task.model, api_key=KEY, base_url=task.base, api_surface="chat_completions", max_connections=task.concurrency
    )
    found = await process_prompts(
        OpenAIStrategy(model, temperature=TEMPERATURE, generation_config={"max_tokens": MAX_TOKENS}),
        prompts,
        concurrency=task.concurrency,
        preserve_order=True,
        artifact_store=JsonlArtifactStore(
            task.directory / "answers.jsonl", identity=ArtifactIdentity(provider="openai", model=task.model)
        ),
        resume=ResumePolicy.REUSE_SUCCESSES,
    )
    return [str(one.output) for one in found.results]


def main(task: Task) -> None:
    """Run the whole job."""
    ids, prompts = task.read()
    task.write(ids, asyncio.run(answers(task, prompts)))


if __name__ == "__main__":
    main(Task.of_command_line())
