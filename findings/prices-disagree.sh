#!/bin/sh
# genai-prices 0.2.3 and LiteLLM 1.110.2, two price lists that tools take their costs from, disagree up to tenfold.
#
# Often they part where a prompt is long: one list has a higher price above a number of tokens, and the other has not.
# Which of them has it differs from model to model, and each differs from itself between two names of one model.
# genai-prices has prices by the hour for DeepSeek, and takes the hour of the call where no time is given.
#
# For a batch: a cost that agrees with one list is half or twice that of the other, and another one an hour later.
#
#> genai-prices 0.2.3, litellm 1.110.2: dollars for a prompt of 1,000 and 300,000
#> anthropic/claude-sonnet-4-5
#>   genai-prices: 0.0180 1.8225
#>   litellm:      0.0180 0.9150
#> global.anthropic.claude-sonnet-4-5-20250929-v1:0
#>   genai-prices: 0.0180 0.9150
#>   litellm:      0.0180 1.8225
#> gpt-5.6-cyber
#>   genai-prices: 0.0875 3.8250
#>   litellm:      0.0875 7.6125
#> xai/grok-code-fast-1
#>   genai-prices: 0.0017 0.0615
#>   litellm:      0.0030 0.6040
#> deepseek/deepseek-reasoner
#>   genai-prices: 0.0027 0.1672
#>   litellm:      0.0007 0.0844
#> deepseek-reasoner at 12 and at 18 o'clock: 0.1672 0.0411
. "$(dirname "$0")/support/check.sh"
install genai-prices==0.2.3 litellm==1.110.2
check <<'EOF'
import logging
import os
from datetime import UTC, datetime
from importlib.metadata import version

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from genai_prices import Usage, calc_price

litellm.suppress_debug_info = True
logging.disable()


def by_genai_prices(provider: str, model: str, prompt: int, hour: int = 12) -> float:
    usage = Usage(input_tokens=prompt, output_tokens=1000)
    when = datetime(2026, 11, 30, hour, tzinfo=UTC)
    return float(calc_price(usage, model, provider_id=provider, genai_request_timestamp=when).total_price)


def by_litellm(model: str, prompt: int) -> float:
    return sum(litellm.cost_per_token(model, prompt_tokens=prompt, completion_tokens=1000))


print(f"genai-prices {version('genai-prices')}, litellm {version('litellm')}:",
      "dollars for a prompt of 1,000 and 300,000")  # fmt: skip
for provider, model, name in (
    ("anthropic", "claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
    ("aws", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", "global.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("openai", "gpt-5.6-cyber", "gpt-5.6-cyber"),
    ("x-ai", "grok-code-fast-1", "xai/grok-code-fast-1"),
    ("deepseek", "deepseek-reasoner", "deepseek/deepseek-reasoner"),
):
    print(name)
    print("  genai-prices:", *(f"{by_genai_prices(provider, model, prompt):.4f}" for prompt in (1000, 300_000)))
    print("  litellm:     ", *(f"{by_litellm(name, prompt):.4f}" for prompt in (1000, 300_000)))
print("deepseek-reasoner at 12 and at 18 o'clock:",
      *(f"{by_genai_prices('deepseek', 'deepseek-reasoner', 300_000, hour):.4f}" for hour in (12, 18)))  # fmt: skip
EOF
