#!/bin/sh
# docetl 0.3.0: when a model leaves out one row of a batch, the rows behind it get the answer of the next.
#
# With `batch_prompt`, docetl asks for several rows at once, as a list of answers without ids. A shorter list is taken:
# its answers are given out by position, and the rows at the end are asked alone. Nothing tells how many came back.
#
# For a batch: labels stand beside the wrong rows, and the last row is paid for twice.
#
#> docetl 0.3.0
#> all three answered: asked 1, row1 -> about row1, row2 -> about row2, row3 -> about row3
#> row1 left out:      asked 2, row1 -> about row2, row2 -> about row3, row3 -> about row3
#> row2 left out:      asked 2, row1 -> about row1, row2 -> about row3, row3 -> about row3
. "$(dirname "$0")/support/check.sh"
install docetl==0.3.0
check <<'EOF'
import contextlib
import io
import json
import logging
import os
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from wire import completion, serving

# The table of tokens that docetl would download comes with LiteLLM, one of its dependencies.
tokens = Path(find_spec("litellm").origin).parent / "litellm_core_utils" / "tokenizers"
os.environ.update(OPENAI_API_KEY="unused", TIKTOKEN_CACHE_DIR=str(tokens), LITELLM_LOCAL_MODEL_COST_MAP="True")
from docetl.api import Dataset, MapOp, Pipeline, PipelineOutput, PipelineStep

logging.disable()
MODEL = "openai/gpt-4-ours"  # the tokens of any name that begins with gpt-4- are counted with that table
asked = []
left_out = ""


def answer(path, body):
    prompt = body["messages"][-1]["content"]
    asked.append(prompt)
    found = [{"label": f"about {name}"} for name in re.findall(r"row\d", prompt)]
    if len(found) > 1:
        output = {"results": [one for one in found if one["label"] != f"about {left_out}"]}
    else:
        (output,) = found
    reply = completion(None)
    call = {"name": "send_output", "arguments": json.dumps(output)}
    reply["choices"][0]["message"]["tool_calls"] = [{"id": "1", "type": "function", "function": call}]
    return 200, {}, reply


def run(url: str) -> str:
    asked.clear()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        Pipeline(
            name="labels",
            datasets={"rows": Dataset(type="file", path="rows.json")},
            operations=[MapOp(name="label", type="map", model=MODEL, prompt="Label {{ input.name }}", bypass_cache=True,
                              batch_prompt="Label {% for row in inputs %}{{ row.name }} {% endfor %}", max_batch_size=3,
                              output={"schema": {"label": "string"}}, litellm_completion_kwargs={"api_base": url})],
            steps=[PipelineStep(name="all", input="rows", operations=["label"])],
            output=PipelineOutput(type="file", path="labels.json"),
            default_model=MODEL,
        ).run()  # fmt: skip
    rows = json.loads(Path("labels.json").read_text(encoding="utf-8"))
    return f"asked {len(asked)}, " + ", ".join(f"{row['name']} -> {row['label']}" for row in rows)


Path("rows.json").write_text(json.dumps([{"name": f"row{i}"} for i in (1, 2, 3)]), encoding="utf-8")
print("docetl", version("docetl"))
with serving(answer) as url:
    print("all three answered:", run(url))
    for left_out in ("row1", "row2"):
        print(f"{left_out} left out:     ", run(url))
EOF
