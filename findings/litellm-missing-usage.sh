#!/bin/sh
# litellm 1.110.2: where a server reports no usage, an answer used 0 tokens, and the same answer streamed used a guess.
#
# Some servers leave `usage` out. LiteLLM fills it in: with zeros in a plain reply, and with counts of its own tokenizer
# in a streamed one, where stream_options={"include_usage": True} is documented to show the token usage of the entire
# request (docs.litellm.ai/docs/completion/usage). Nothing in the reply tells either from what a server has counted.
#
# For a batch: a cost that is not known is reported as nothing, or as a figure that no invoice will have.
#
#> litellm 1.110.2, a server without usage
#> plain:    prompt 0, completion 0, total 0
#> streamed: prompt 8, completion 2, total 10
. "$(dirname "$0")/support/check.sh"
install litellm==1.110.2
check <<'EOF'
import logging
import os
from importlib.metadata import version

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from wire import chunk, completion, serving, stream

logging.disable()

def without_usage(path, body):
    if body.get("stream"):
        return stream(chunk("Hello there", "stop"))
    return 200, {}, {name: value for name, value in completion("Hello there").items() if name != "usage"}


def show(name: str, usage) -> None:
    print(f"{name:9} prompt {usage.prompt_tokens}, completion {usage.completion_tokens}, total {usage.total_tokens}")


print(f"litellm {version('litellm')}, a server without usage")
with serving(without_usage) as url:
    messages = [{"role": "user", "content": "hi"}]
    asked = {"model": "hosted_vllm/small", "api_base": url, "api_key": "unused", "messages": messages}
    show("plain:", litellm.completion(**asked).usage)
    *_, last = litellm.completion(**asked, stream=True, stream_options={"include_usage": True})
    show("streamed:", last.usage)
EOF
