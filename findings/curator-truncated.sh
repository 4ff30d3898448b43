#!/bin/sh
# curator 0.1.31: an answer that ends at max_tokens is bought eleven times, and then the run fails.
#
# finish_reason "length" counts as an error and is tried ten more times at once. The run raises at the end, without the
# answers that were good. The same call buys eleven more.
# finish_reason "error" counts as success.
#
# For a batch: a max_tokens that is a little small costs eleven times as much and leaves nothing.
#
#> curator 0.1.31
#> how often each prompt was asked -> what came of the run
#> {'short': 1, 'long': 11} -> ValueError: Some requests failed and require_all_responses is True. Sample o
#> {'short': 0, 'long': 11} -> ValueError: Some requests failed and require_all_responses is True. Sample o
#> {'short': 1, 'broken': 1} -> ['Answer to short', 'Answer to broken']
. "$(dirname "$0")/support/check.sh"
install bespokelabs-curator==0.1.31
check <<'EOF'
import contextlib
import io
import logging
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from wire import completion, serving

# The table of tokens that curator would download comes with LiteLLM, one of its dependencies.
tokens = Path(find_spec("litellm").origin).parent / "litellm_core_utils" / "tokenizers"
os.environ.update(CURATOR_CACHE_DIR="cache", TELEMETRY_ENABLED="false", HF_HUB_OFFLINE="1",
                  TIKTOKEN_CACHE_DIR=str(tokens), LITELLM_LOCAL_MODEL_COST_MAP="True")  # fmt: skip
from bespokelabs import curator
from datasets import Dataset

logging.disable(logging.CRITICAL)
asked = []


def server(path, body):
    if body is None or not body["messages"]:
        return 404, {}, {}
    text = body["messages"][0]["content"]
    asked.append(text)
    reply = completion(f"Answer to {text}")
    reply["choices"][0]["finish_reason"] = {"long": "length", "broken": "error"}.get(text, "stop")
    return 200, {}, reply


class Asker(curator.LLM):
    def prompt(self, row):
        return row["prompt"]

    def parse(self, row, response):
        return {"response": response}


def run(url: str, *prompts: str) -> None:
    asked.clear()
    with contextlib.redirect_stdout(io.StringIO()):
        asker = Asker(
            model_name="small", backend="openai", generation_params={"max_tokens": 5},
            backend_params={"base_url": url, "api_key": "unused", "max_requests_per_minute": 10**6,
                            "max_tokens_per_minute": 10**9},
        )  # fmt: skip
        try:
            found = asker(Dataset.from_dict({"prompt": prompts}), working_dir="cache")
            outcome = getattr(found, "dataset", found)["response"][:]
        except ValueError as error:
            outcome = f"ValueError: {str(error).splitlines()[0][:64]}"
    print({prompt: asked.count(prompt) for prompt in prompts}, "->", outcome)


print("curator", version("bespokelabs-curator"))
print("how often each prompt was asked -> what came of the run")
with serving(server) as url:
    run(url, "short", "long")
    run(url, "short", "long")
    run(url, "short", "broken")
EOF
