#!/bin/sh
# litellm 1.110.2: for some providers, a model that has no price costs nothing, or what a number in its name says.
#
# `completion_cost` raises for most models that are not in the price list. For others LiteLLM makes up an entry with
# prices of zero, or takes a default entry that has them. Names of Together and Fireworks with a "7b" in them are priced
# by it. Claude by way of OpenRouter is free, and costs 18 dollars under the name that is in the list.
#
# For a batch: answers that were billed are told as free, so a cost cap never stops the run.
#
#> litellm 1.110.2: cost of a million tokens in and a million out
#> openai/house-model: ModelNotMappedError
#> anthropic/claude-sonnet-4-5: $18.00
#> openrouter/anthropic/claude-sonnet-4.5: $0.00
#> openrouter/anthropic/claude-sonnet-99: $0.00
#> openrouter/house-model: ModelNotMappedError
#> huggingface/house-model: $0.00
#> wandb/house-model: $0.00
#> fireworks_ai/house-model: $0.00
#> fireworks_ai/house-model-7b: $0.40
#> together_ai/house-model: ModelNotMappedError
#> together_ai/house-model-7b: $0.40
. "$(dirname "$0")/support/check.sh"
install litellm==1.110.2
check <<'EOF'
import logging
import os
from importlib.metadata import version

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

litellm.suppress_debug_info = True
logging.disable()
MILLION = 10**6

print(f"litellm {version('litellm')}: cost of a million tokens in and a million out")
for name in (
    "openai/house-model",
    "anthropic/claude-sonnet-4-5",
    "openrouter/anthropic/claude-sonnet-4.5",
    "openrouter/anthropic/claude-sonnet-99",
    "openrouter/house-model",
    "huggingface/house-model",
    "wandb/house-model",
    "fireworks_ai/house-model",
    "fireworks_ai/house-model-7b",
    "together_ai/house-model",
    "together_ai/house-model-7b",
):
    reply = litellm.ModelResponse(model=name, usage={
        "prompt_tokens": MILLION, "completion_tokens": MILLION, "total_tokens": 2 * MILLION})  # fmt: skip
    try:
        print(f"{name}: ${litellm.completion_cost(reply, model=name):.2f}")
    except Exception as error:
        print(f"{name}: {type(error).__name__}")
EOF
