#!/bin/sh
# LiteLLM proxy 1.108.7: after a fallback the status is 200 and `model` is whatever the server behind calls itself.
#
# Without a fallback the proxy replaces that name by the one that was asked for. So the two replies follow different
# rules, and a name that is in no configuration shows up. The header x-litellm-attempted-fallbacks tells them apart.
#
# For a batch: answers of a weaker model mix with the others, and are priced as the one that was asked for.
#
#> LiteLLM 1.108.7
#> the strong model is up: 200
#>   model: strong
#>   x-litellm-attempted-fallbacks: 0
#> the strong model is down: 200
#>   model: weak-2026-11
#>   x-litellm-attempted-fallbacks: 1
. "$(dirname "$0")/support/check.sh"
install 'litellm[proxy]==1.108.7'
check <<'EOF'
import json
import os
from importlib.metadata import version
from pathlib import Path

from wire import completion, free_port, running, send, serving

CONFIG = """
model_list:
  - model_name: strong
    litellm_params: {model: openai/strong, api_base: "URL", api_key: unused}
  - model_name: weak
    litellm_params: {model: openai/weak, api_base: "URL", api_key: unused}
router_settings:
  num_retries: 0
  fallbacks: [{strong: [weak]}]
"""
down = False


def behind(path, body):
    if body is None:
        return 404, {}, {}
    if down and body["model"] == "strong":
        return 500, {}, {"error": {"message": "out of memory"}}
    return 200, {}, completion("Hello.", model=f"{body['model']}-2026-11")


print("LiteLLM", version("litellm"))
os.environ.update(LITELLM_MASTER_KEY="sk-right", LITELLM_LOCAL_MODEL_COST_MAP="True")
port = free_port()
with serving(behind) as behind_url:
    Path("config.yaml").write_text(CONFIG.replace("URL", behind_url))
    with running(["litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)], port) as url:
        for down in (False, True):
            body = {"model": "strong", "messages": [{"role": "user", "content": "Hello"}]}
            reply = send(f"{url}/v1/chat/completions", body, {"authorization": "Bearer sk-right"})
            print(f"the strong model is {'down' if down else 'up'}: {reply.status}")
            print("  model:", json.loads(reply.text)["model"])
            print("  x-litellm-attempted-fallbacks:", reply.headers["x-litellm-attempted-fallbacks"])
EOF
