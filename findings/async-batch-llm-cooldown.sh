#!/bin/sh
# async-batch-llm 0.28.0: a wait of one second that a server asks for becomes five minutes, for all workers.
#
# Its own cooldown of 300 seconds is the least that follows a 429. Retry-After can only make it longer, and each 429 in
# a row makes it half as long again. Calls that never met the limit wait too.
#
# For a batch: an endpoint that refuses a request now and then stands still for most of the run.
#
#> async-batch-llm 0.28.0
#> Retry-After: 1
#> requests within 15 s: 1 of 4, answers: 0
#> said to pause for: 300.0 s
. "$(dirname "$0")/support/check.sh"
install async-batch-llm==0.28.0 openai==3.57.0
check <<'EOF'
import asyncio
import logging
import re
from importlib.metadata import version

from async_batch_llm import OpenAIModel, OpenAIStrategy, process_prompts
from openai import AsyncOpenAI
from wire import completion, serving

requests = 0
pauses = []
answers = []


class Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        pauses.extend(re.findall(r"Pausing all workers for ([\d.]+)s", record.getMessage()))


def refuse_once(path, body):
    global requests
    requests += 1
    if requests == 1:
        return 429, {"Retry-After": "1"}, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    return 200, {}, completion("Hello.")


async def run(url: str) -> None:
    model = OpenAIModel("small", client=AsyncOpenAI(api_key="unused", base_url=url, max_retries=0))
    batch = await process_prompts(OpenAIStrategy(model), ["Hello"] * 4, concurrency=1)
    answers.extend(batch.results)


print("async-batch-llm", version("async-batch-llm"))
print("Retry-After: 1")
logging.getLogger("async_batch_llm").addHandler(Listener())
with serving(refuse_once) as url:
    try:
        asyncio.run(asyncio.wait_for(run(url), 15))
    except TimeoutError:
        pass
print(f"requests within 15 s: {requests} of 4, answers: {len(answers)}")
print("said to pause for:", ", ".join(pauses), "s")
EOF
