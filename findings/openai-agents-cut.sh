#!/bin/sh
# openai-agents 0.24.0: with chat completions, an answer that was cut has the same result as a whole one.
#
# A server says why an answer ends: `stop`, or `length` at max_tokens, or `content_filter` when it was stopped halfway.
# The model for chat completions drops that word. The final output, the items and the raw responses are equal to the
# last character, and each item says that it is completed. An answer without a word becomes an empty text. pydantic-ai
# has no error either, and keeps the word beside the answer.
#
# For a batch: half an answer is kept as a whole one, and nothing in the result can be checked for it.
#
#> openai-agents 0.24.0
#>   stop: 'The half of', completed
#>   length: 'The half of', completed
#>   content_filter: 'The half of', completed
#>   results that differ: 0
#> pydantic-ai-slim 2.68.0
#>   stop: 'The half of', stop
#>   length: 'The half of', length
#>   content_filter: 'The half of', content_filter
. "$(dirname "$0")/support/check.sh"
install openai-agents==0.24.0 'pydantic-ai-slim[openai]==2.68.0'
check <<'EOF'
import logging
from importlib.metadata import version

from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from wire import completion, serving

REASONS = ("stop", "length", "content_filter")
logging.disable()
set_tracing_disabled(True)


def answer(path, body):
    reply = completion("The half of")
    reply["choices"][0]["finish_reason"] = reason
    return 200, {}, reply


with serving(answer) as url:
    client = AsyncOpenAI(base_url=url, api_key="unused")
    agent = Agent(name="agent", model=OpenAIChatCompletionsModel("small", client))
    results = set()
    print("openai-agents", version("openai-agents"))
    for reason in REASONS:
        result = Runner.run_sync(agent, "Tell")
        (item,) = result.new_items
        results.add(repr((result.final_output, result.raw_responses, item.raw_item)))
        print(f"  {reason}: {result.final_output!r}, {item.raw_item.status}")
    print("  results that differ:", len(results) - 1)
    print("pydantic-ai-slim", version("pydantic-ai-slim"))
    pydantic_agent = PydanticAgent(OpenAIChatModel("small", provider=OpenAIProvider(openai_client=client)))
    for reason in REASONS:
        run = pydantic_agent.run_sync("Tell")
        print(f"  {reason}: {run.output!r}, {run.response.finish_reason}")
EOF
