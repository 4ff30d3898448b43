#!/bin/sh
# datatrove 0.10.1: one 429 ends its inference run, and a row without text is left out of the output.
#
# Retry-After is not read and nothing is tried again: the first refused row raises, and no later row is asked. The
# reader skips a row with an empty text and says so in its log, so the output has fewer rows than the input.
#
# For a batch: a provider's limit stops the job each time it is met, and rows have to be counted to see that some lack.
#
#> datatrove 0.10.1
#> rows ['one', 'refused once', 'three', 'four']: raised InferenceError: Failed to process document ?: Error http status 429. Pay
#>   asked ['one', 'refused once'], written ['one']
#> rows ['one', '', 'three']: ended well
#>   asked ['one', 'three'], written ['one', 'three']
. "$(dirname "$0")/support/check.sh"
install datatrove==0.10.1 pyarrow==26.0.1 aiofiles==25.1.0 aiohttp==3.14.5 aiosqlite==0.22.1 httpx==0.28.1 orjson==3.13.0
check <<'EOF'
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import JsonlWriter
from wire import completion, serving

asked = []


def server(path, body):
    if body is None:
        return 200, {}, {"object": "list", "data": [{"id": "small", "object": "model"}]}
    text = body["messages"][0]["content"]
    asked.append(text)
    if text == "refused once" and asked.count(text) == 1:
        return 429, {"Retry-After": "1"}, {"error": {"message": "slow down"}}
    return 200, {}, completion(f"Answer to {text}")


async def ask(document, generate):
    return (await generate({"messages": [{"role": "user", "content": document.text}], "max_tokens": 5})).text


def run(url: str, *prompts: str) -> None:
    asked.clear()
    for folder in ("in", "out", "log"):
        shutil.rmtree(folder, ignore_errors=True)
    Path("in").mkdir()
    rows = {"id": [str(number) for number in range(len(prompts))], "prompt": prompts}
    pq.write_table(pa.table(rows), "in/prompts.parquet")
    config = InferenceConfig(
        server_type="endpoint", model_name_or_path="small", endpoint_url=url.removesuffix("/v1"), api_key="unused",
        max_concurrent_generations=1,
    )  # fmt: skip
    runner = InferenceRunner(rollout_fn=ask, config=config, output_writer=JsonlWriter("out", compression=None))
    steps = [ParquetReader("in", text_key="prompt", id_key="id"), runner]
    try:
        LocalPipelineExecutor(pipeline=steps, logging_dir="log").run()
        outcome = "ended well"
    except Exception as error:
        outcome = f"raised {type(error).__name__}: {str(error)[:56]}"
    written = [json.loads(line)["text"] for file in Path("out").glob("*") for line in file.read_text().splitlines()]
    print(f"rows {list(prompts)}: {outcome}")
    print(f"  asked {asked}, written {written}")


print("datatrove", version("datatrove"))
with serving(server) as url:
    run(url, "one", "refused once", "three", "four")
    run(url, "one", "", "three")
EOF
