#!/bin/sh
# litellm 1.110.2: with a cache, a prompt that was answered before raises instead of being answered.
#
# What is read from the cache goes through a module that needs packages of LiteLLM's proxy, which the library does not
# install. The first answer is stored; every later request for it ends in ModuleNotFoundError, before anything is sent.
# `batch_completion` returns the error in the place of the answer.
#
# For a batch: the cache that was to save the repeated prompts loses them, and a second run loses every row.
#
#> litellm 1.110.2
#> asked first:  answer 1
#> asked again:  ModuleNotFoundError: No module named 'fastapi'
#> as a batch:   ['ModuleNotFoundError']
#> requests:     1
. "$(dirname "$0")/support/check.sh"
install litellm==1.110.2
check <<'EOF'
import os
from importlib.metadata import version

from wire import completion, serving

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402
from litellm.caching.caching import Cache  # noqa: E402

requests = 0


def answer(path, body):
    global requests
    requests += 1
    return 200, {}, completion(f"answer {requests}")


print("litellm", version("litellm"))
litellm.cache = Cache()
messages = [{"role": "user", "content": "Hello"}]
with serving(answer) as url:
    more = {"api_base": url, "api_key": "unused", "caching": True}
    print("asked first: ", litellm.completion("openai/small", messages, **more).choices[0].message.content)
    try:
        again = litellm.completion("openai/small", messages, **more).choices[0].message.content
    except Exception as error:
        again = f"{type(error).__name__}: {error}"
    print("asked again: ", again)
    print("as a batch:  ", [type(one).__name__ for one in
                            litellm.batch_completion("openai/small", [messages], **more)])  # fmt: skip
print("requests:    ", requests)
EOF
