"""LiteLLM's asynchronous call, one task for each request."""

from __future__ import annotations

import asyncio

import litellm

from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task, messages


async def _main(task: Task) -> None:
    async def ask(prompt: str) -> str:
        reply = await litellm.acompletion(
            model=f"openai/{task.model}",
            messages=messages(prompt),
            api_base=task.base,
            api_key=KEY,
            max_tokens=MAX_TOKENS,
            temperature=TEMPERATURE,
        )
        return str(reply.choices[0].message.content)

    await task.ask_all(ask)


if __name__ == "__main__":
    asyncio.run(_main(Task.of_command_line()))
