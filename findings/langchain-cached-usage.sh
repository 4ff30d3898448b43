#!/bin/sh
# langchain-core 1.8.3: answers from the cache are counted as used tokens again.
#
# A message from the cache carries the usage of the request that once bought it, and the usage handler adds it up. Only
# the key `total_cost: 0`, which is absent from bought messages, tells them apart.
#
# For a batch: a second run, or a column with repeated prompts, shows tokens that nobody was billed for.
#
#> langchain-core 1.8.3, langchain-openai 1.7.4
#> requests: 1
#> tokens that the server counted: 15
#> tokens of the handler:          45
#> total_cost of each message:     [None, 0, 0]
. "$(dirname "$0")/support/check.sh"
install langchain-core==1.8.3 langchain-openai==1.7.4
check <<'EOF'
from importlib.metadata import version

from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_openai import ChatOpenAI
from wire import completion, serving

requests = 0


def answer(path, body):
    global requests
    requests += 1
    return 200, {}, completion("Hello.")


print(f"langchain-core {version('langchain-core')}, langchain-openai {version('langchain-openai')}")
usage = UsageMetadataCallbackHandler()
with serving(answer) as url:
    model = ChatOpenAI(model="small", base_url=url, api_key="unused", cache=InMemoryCache())
    messages = [model.invoke("Hello", config={"callbacks": [usage]}) for _ in range(3)]
print("requests:", requests)
print("tokens that the server counted:", 15 * requests)
print("tokens of the handler:         ", usage.usage_metadata["small"]["total_tokens"])
print("total_cost of each message:    ", [message.usage_metadata.get("total_cost") for message in messages])
EOF
