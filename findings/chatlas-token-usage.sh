#!/bin/sh
# chatlas 0.23.0: the tokens of every model of one provider are counted as those of the model that was asked first.
#
# `token_usage` has one entry for each kind of client, and keeps the model of its first call. Where the price of a model
# is not known, its tokens are added and its cost is left out. The sum of what is known is told as the cost.
#
# For a batch: two models are compared by their tokens, and one has used all of them; a model without a price is free.
#
#> chatlas 0.23.0
#> after gpt-4.1-nano: {'model': 'gpt-4.1-nano', 'input': 1000, 'output': 1000, 'cost': 0.0005}
#> after gpt-4o: {'model': 'gpt-4.1-nano', 'input': 2000, 'output': 2000, 'cost': 0.013}
#> after house-model: {'model': 'gpt-4.1-nano', 'input': 3000, 'output': 3000, 'cost': 0.013}
. "$(dirname "$0")/support/check.sh"
install 'chatlas[openai]==0.23.0' openai==3.57.0
check <<'EOF'
from importlib.metadata import version

import chatlas
from wire import completion, serving


def answer(path, body):
    reply = completion("Hello", model=body["model"])
    reply["usage"] = {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}
    return 200, {}, reply


print("chatlas", version("chatlas"))
with serving(answer) as url:
    for model in ("gpt-4.1-nano", "gpt-4o", "house-model"):
        chat = chatlas.ChatOpenAICompletions(base_url=url, api_key="unused", model=model)
        chat.chat("Hello", echo="none", stream=False)
        entries = [{name: round(entry[name], 6) if name == "cost" else entry[name]
                    for name in ("model", "input", "output", "cost")} for entry in chatlas.token_usage()]  # fmt: skip
        print(f"after {model}:", *entries)
EOF
