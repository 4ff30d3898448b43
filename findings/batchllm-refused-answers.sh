#!/bin/sh
# batchllm-ai 0.2.0: an answer that is no JSON costs nothing, so a cap on the cost does not see it.
#
# With `expect_json` such an answer is bought again, with the refused one in the prompt. Tokens are counted once an
# answer is taken, and those of that attempt alone. A row whose answers are all refused has used none. Where the answers
# are taken, the cap stops the run.
#
# For a batch: a model that wraps its JSON in words costs many times the cap, and the summary says nothing was spent.
#
#> batchllm-ai 0.2.0, ten rows, gpt-4o at $2.50 a request, max_cost of $5, two retries
#>   every answer is taken: $5.00 in the summary, stopped True
#>   every answer is refused: $0.00 in the summary, stopped False, 30 requests billed with $75.00
. "$(dirname "$0")/support/check.sh"
install batchllm-ai==0.2.0 openai==3.57.0
check <<'EOF'
import asyncio
import logging
from importlib.metadata import version

from batchllm import BatchConfig, BatchProcessor
from batchllm.cost import estimate_cost
from wire import completion, serving

logging.disable()
requests = []


def answer(path, body):
    requests.append(body)
    reply = completion(text)
    reply["usage"] = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}
    return 200, {}, reply


print(f"batchllm-ai {version('batchllm-ai')}, ten rows, gpt-4o at $2.50 a request, max_cost of $5, two retries")
with serving(answer) as url:
    config = BatchConfig(
        model="gpt-4o", base_url=url, api_key="unused", max_concurrent=1, max_retries=2, retry_base_delay=0,
        max_cost=5, expect_json=True,
    )  # fmt: skip
    for text, what in (('{"a": 1}', "taken"), ('Here it is: {"a": 1}', "refused")):
        requests.clear()
        processor = BatchProcessor(config)
        asyncio.run(processor.process_items([f"row {number}" for number in range(10)]))
        stats = processor.stats
        told = estimate_cost("gpt-4o", stats.total_tokens_in, stats.total_tokens_out)
        billed = f", {len(requests)} requests billed with ${2.5 * len(requests):.2f}" if what == "refused" else ""
        print(f"  every answer is {what}: ${told:.2f} in the summary, stopped {stats.stopped_early}{billed}")
EOF
