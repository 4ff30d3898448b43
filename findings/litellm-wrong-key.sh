#!/bin/sh
# LiteLLM proxy 1.108.7 without a database: a wrong key is a 400 and a missing key a 500, never a 401.
#
# An unknown model is a 400 too. A client that takes a 400 for a fault of one row goes through all rows, and one that
# takes a 500 for an outage waits for it to end.
#
# For a batch: every row fails for good, or the run waits for hours, over a key that a person could fix at once.
#
#> LiteLLM 1.108.7
#> right key: 200
#> wrong key: 400 {"error":{"message":"No connected db.","type":"no_db_connection","param":nu
#> no key: 500 Internal Server Error
#> unknown model: 400 {"error":{"message":"/chat/completions: Invalid model name passed in model=
. "$(dirname "$0")/support/check.sh"
install 'litellm[proxy]==1.108.7'
check <<'EOF'
import os
from importlib.metadata import version
from pathlib import Path

from wire import free_port, running, send

CONFIG = """
model_list:
  - model_name: small
    litellm_params: {model: openai/small, api_key: unused, mock_response: "Hello."}
"""
print("LiteLLM", version("litellm"))
os.environ.update(LITELLM_MASTER_KEY="sk-right", LITELLM_LOCAL_MODEL_COST_MAP="True")
Path("config.yaml").write_text(CONFIG)
port = free_port()
with running(["litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)], port) as url:

    def ask(case: str, model: str, headers: dict[str, str]) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        reply = send(f"{url}/v1/chat/completions", body, headers)
        print(f"{case}: {reply.status} {reply.text[:75] if reply.status != 200 else ''}".rstrip())

    ask("right key", "small", {"authorization": "Bearer sk-right"})
    ask("wrong key", "small", {"authorization": "Bearer sk-wrong"})
    ask("no key", "small", {})
    ask("unknown model", "large", {"authorization": "Bearer sk-right"})
EOF
