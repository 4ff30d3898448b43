#!/bin/sh
# smolagents 1.26.0, pydantic-ai 2.68.0, langchain-openai 1.7.4 and agno 3.1.10 add up usage that is a running total.
#
# Some servers tell the usage in every chunk of a stream, each time for the request so far: Baseten does by default,
# vLLM and SGLang where `continuous_usage_stats` is asked for. These clients add the totals, so the prompt is counted
# once for each chunk. pydantic-ai has a setting for it, which is off. openai-agents keeps the last total.
# https://github.com/langchain-ai/langchain/issues/30429
#
# For a batch: the tokens of an answer in 500 chunks are told as those of 500 prompts, and a cost cap stops the run.
#
#> one answer, usage in the last of 5 chunks -> in each of them
#> smolagents 1.26.0: 100 in, 5 out -> 500 in, 15 out
#> pydantic-ai-slim 2.68.0: 100 in, 5 out -> 500 in, 15 out
#> langchain-openai 1.7.4: 100 in, 5 out -> 500 in, 15 out
#> agno 3.1.10: 100 in, 5 out -> 500 in, 15 out
#> openai-agents 0.24.0: 100 in, 5 out -> 100 in, 5 out
. "$(dirname "$0")/support/check.sh"
install 'smolagents[openai]==1.26.0' 'pydantic-ai-slim[openai]==2.68.0' langchain-openai==1.7.4 agno==3.1.10 openai-agents==0.24.0 openai==3.57.0
check <<'EOF'
import asyncio
import logging
import os
from importlib.metadata import version

from wire import chunk, serving, stream

os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
from agents import Agent as OpenAIAgent
from agents import OpenAIChatCompletionsModel, Runner
from agno.agent import Agent as AgnoAgent
from agno.models.openai.like import OpenAILike
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from smolagents import ChatMessage, OpenAIServerModel
from smolagents.models import agglomerate_stream_deltas

CHUNKS = 5
in_each = False


def server(path, body):
    if not body or not body.get("stream"):
        return 404, {}, {}
    events = [chunk("word ", "stop" if i == CHUNKS else None) for i in range(1, CHUNKS + 1)]
    for tokens, event in enumerate(events, 1):
        if in_each or tokens == CHUNKS:
            event["usage"] = {"prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": 100 + tokens}
    return stream(*events)


def with_smolagents(url: str) -> tuple[int, int]:
    model = OpenAIServerModel("small", api_base=url, api_key="unused")
    pieces = list(model.generate_stream([ChatMessage(role="user", content="Tell")]))
    usage = agglomerate_stream_deltas(pieces).token_usage
    return usage.input_tokens, usage.output_tokens


async def with_pydantic_ai(url: str) -> tuple[int, int]:
    model = OpenAIChatModel("small", provider=OpenAIProvider(base_url=url, api_key="unused"))
    async with Agent(model).run_stream("Tell") as answer:
        await answer.get_output()
        return answer.usage.input_tokens, answer.usage.output_tokens


def with_langchain(url: str) -> tuple[int, int]:
    pieces = list(ChatOpenAI(model="small", base_url=url, api_key="unused", stream_usage=True).stream("Tell"))
    usage = sum(pieces[1:], pieces[0]).usage_metadata
    return usage["input_tokens"], usage["output_tokens"]


def with_agno(url: str) -> tuple[int, int]:
    agent = AgnoAgent(model=OpenAILike(id="small", base_url=url, api_key="unused"), telemetry=False)
    metrics = list(agent.run("Tell", stream=True, yield_run_output=True))[-1].metrics
    return metrics.input_tokens, metrics.output_tokens


async def with_openai_agents(url: str) -> tuple[int, int]:
    client = AsyncOpenAI(base_url=url, api_key="unused")
    agent = OpenAIAgent(name="teller", model=OpenAIChatCompletionsModel(model="small", openai_client=client))
    answer = Runner.run_streamed(agent, "Tell")
    async for _ in answer.stream_events():
        pass
    return answer.context_wrapper.usage.input_tokens, answer.context_wrapper.usage.output_tokens


logging.disable()
print(f"one answer, usage in the last of {CHUNKS} chunks -> in each of them")
with serving(server) as url:
    for name, run in (
        ("smolagents", with_smolagents),
        ("pydantic-ai-slim", lambda url: asyncio.run(with_pydantic_ai(url))),
        ("langchain-openai", with_langchain),
        ("agno", with_agno),
        ("openai-agents", lambda url: asyncio.run(with_openai_agents(url))),
    ):
        told = []
        for in_each in (False, True):
            told.append("{} in, {} out".format(*run(url)))
        print(f"{name} {version(name)}: {' -> '.join(told)}")
EOF
