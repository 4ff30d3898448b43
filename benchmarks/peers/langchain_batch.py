"""LangChain's asynchronous batch."""

from __future__ import annotations

import asyncio

from langchain_openai import ChatOpenAI

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task


def main(task: Task) -> None:
    """Run the whole job."""
    ids, prompts = task.read()
    model = ChatOpenAI(
        model=task.model, base_url=task.base, api_key=KEY, max_tokens=MAX_TOKENS, temperature=TEMPERATURE
    )
    replies = asyncio.run(model.abatch(prompts, config={"max_concurrency": task.concurrency}))
    task.write(ids, [reply.content for reply in replies])


if __name__ == "__main__":
    main(Task.of_command_line())
