#!/bin/sh
# flexllm 0.17.10 and saturate 0.2.0: a run with another model resumes from the answers of the one before.
#
# flexllm knows a row by its messages, saturate by its input row, so a changed model or temperature counts for nothing.
# The second run asks nothing, reports success and returns what the first model said. Neither output names the model.
#
# For a batch: two models are compared, and both columns hold the answers of one.
#
#> flexllm 0.17.10
#>   run with small: asked 1, answers ['small says hello']
#>   run with large: asked 0, answers ['small says hello']
#> saturate 0.2.0
#>   run with small: asked 1, answers ['small says hello']
#>   run with large: asked 0, answers ['small says hello']
. "$(dirname "$0")/support/check.sh"
install flexllm==0.17.10 saturate==0.2.0
check <<'EOF'
import asyncio
import contextlib
import io
from importlib.metadata import version

import pyarrow.dataset as ds
from flexllm import LLMClient
from saturate import pump
from wire import completion, serving

asked = []


def server(path, body):
    if body is None:
        return 404, {}, {}
    asked.append(body["model"])
    return 200, {}, completion(f"{body['model']} says hello", model=body["model"])


async def with_flexllm(url: str, model: str) -> list[str | None]:
    async with LLMClient(model=model, base_url=url, api_key="unused") as client:
        messages = [[{"role": "user", "content": "Hello"}]]
        results = await client.chat_batch(messages, output_jsonl="flexllm.jsonl", show_progress=False)
        return [result.content for result in results]


def with_saturate(url: str, model: str) -> list[str | None]:
    pump(
        [{"prompt": "Hello"}],
        to_request=lambda row: {"model": model, "messages": [{"role": "user", "content": row["prompt"]}]},
        parse=lambda row, reply: {"response": reply["choices"][0]["message"]["content"]},
        endpoint=url.removesuffix("/v1"), output="saturate",
    )  # fmt: skip
    return ds.dataset("saturate", exclude_invalid_files=True).to_table()["response"].to_pylist()


with serving(server) as url:
    for tool, run in (("flexllm", lambda model: asyncio.run(with_flexllm(url, model))),
                      ("saturate", lambda model: with_saturate(url, model))):  # fmt: skip
        print(tool, version(tool))
        for model in ("small", "large"):
            asked.clear()
            with contextlib.redirect_stdout(io.StringIO()):
                answers = run(model)
            print(f"  run with {model}: asked {len(asked)}, answers {answers}")
EOF
