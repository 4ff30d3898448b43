#!/bin/sh
# LiteLLM proxy 1.108.7 takes Retry-After away: the wait arrives as llm_provider-retry-after alone.
#
# This holds for the wait that the server behind asked for, and for the proxy's own limit of requests per minute. A
# deployment over max_parallel_requests is refused at once, with no wait at all.
#
# For a batch: a client that knows only Retry-After asks again at once, and burns its attempts within the minute.
#
#> LiteLLM 1.108.7
#> the server behind says 429, Retry-After: 60: 429 {'llm_provider-retry-after': '60'}
#> second request of one a minute: 429 {'llm_provider-retry-after': '60'}
#> second request of one at a time: 429 without a wait
. "$(dirname "$0")/support/check.sh"
install 'litellm[proxy]==1.108.7'
check <<'EOF'
import os
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from wire import Reply, completion, free_port, running, send, serving

CONFIG = """
model_list:
  - model_name: refused
    litellm_params: {model: openai/refused, api_base: "URL", api_key: unused}
  - model_name: one-a-minute
    litellm_params: {model: openai/small, api_base: "URL", api_key: unused, rpm: 1}
  - model_name: one-at-a-time
    litellm_params: {model: openai/slow, api_base: "URL", api_key: unused, max_parallel_requests: 1}
router_settings:
  num_retries: 0
  optional_pre_call_checks: [enforce_model_rate_limits]
"""


def behind(path, body):
    if body is None:
        return 404, {}, {}
    if body["model"] == "refused":
        return 429, {"Retry-After": "60"}, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    time.sleep(3 if body["model"] == "slow" else 0)
    return 200, {}, completion("Hello.")


print("LiteLLM", version("litellm"))
os.environ.update(LITELLM_MASTER_KEY="sk-right", LITELLM_LOCAL_MODEL_COST_MAP="True")
port = free_port()
with serving(behind) as behind_url:
    Path("config.yaml").write_text(CONFIG.replace("URL", behind_url))
    with running(["litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)], port) as url:

        def ask(model: str) -> Reply:
            body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
            return send(f"{url}/v1/chat/completions", body, {"authorization": "Bearer sk-right"})

        def show(case: str, reply: Reply) -> None:
            waits = {name: value for name, value in reply.headers.items() if "retry-after" in name.lower()}
            print(f"{case}: {reply.status} {waits or 'without a wait'}")

        show("the server behind says 429, Retry-After: 60", ask("refused"))
        ask("one-a-minute")
        show("second request of one a minute", ask("one-a-minute"))
        with ThreadPoolExecutor(2) as threads:
            replies = sorted(threads.map(ask, ["one-at-a-time"] * 2), key=lambda reply: reply.status)
        show("second request of one at a time", replies[1])
EOF
