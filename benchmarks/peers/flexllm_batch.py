"""flexllm's batch of chats."""

from __future__ import annotations

import asyncio

from flexllm import LLMClient

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task, messages


async def answers(task: Task, prompts: list[str]) -> list[str]:
    """Ask for every prompt."""
    async with LLMClient(
        model=task.model, base_url=task.base, api_key=KEY, concurrency_limit=task.concurrency
    ) as client:
        found = await client.chat_batch(
            [messages(prompt) for prompt in prompts],
            output_jsonl=str(task.directory / "answers.jsonl"),
            show_progress=False,
            max_tokens=MAX_TOKENS,
            temperature=TEMPERATURE,
        )
        return [one.content for one in found]


def main(task: Task) -> None:
    """Run the whole job."""
    ids, prompts = task.read()
    task.write(ids, asyncio.run(answers(task, prompts)))


if __name__ == "__main__":
    main(Task.of_command_line())
