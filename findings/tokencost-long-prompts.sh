#!/bin/sh
# tokencost 0.1.26: a long prompt costs as much for each token as a short one, where its own table says twice as much.
#
# Some models have a second price for requests above 128,000 or 200,000 tokens. The table of tokencost has it beside the
# first, and the function that computes a cost reads the first alone, for answers too. genai-prices takes the second.
#
# For a batch: long documents are estimated at half their cost, and a cap that is checked so is passed twice over.
#
#> gemini-2.5-pro, 100,000 tokens: tokencost 0.1.26 $0.125, genai-prices 0.2.3 $0.125
#> gemini-2.5-pro, 300,000 tokens: tokencost 0.1.26 $0.375, genai-prices 0.2.3 $0.750
#> in the table of tokencost: input_cost_per_token 1.25e-06, input_cost_per_token_above_200k_tokens 2.5e-06
. "$(dirname "$0")/support/check.sh"
install tokencost==0.1.26 genai-prices==0.2.3
check <<'EOF'
from importlib.metadata import version

from genai_prices import Usage, calc_price
from tokencost import TOKEN_COSTS, calculate_cost_by_tokens

MODEL = "gemini-2.5-pro"
for tokens in (100_000, 300_000):
    guessed = calculate_cost_by_tokens(tokens, MODEL, "input")
    price = calc_price(Usage(input_tokens=tokens, output_tokens=0), model_ref=MODEL).input_price
    print(f"{MODEL}, {tokens:,} tokens: tokencost {version('tokencost')} ${guessed:.3f},", end=" ")
    print(f"genai-prices {version('genai-prices')} ${price:.3f}")
prices = {name: TOKEN_COSTS[MODEL][name] for name in ("input_cost_per_token", "input_cost_per_token_above_200k_tokens")}
print("in the table of tokencost:", ", ".join(f"{name} {price}" for name, price in prices.items()))
EOF
