#!/bin/sh
# docetl 0.3.0: a prompt above 32,768 tokens loses its middle when the model is in no price list.
#
# Before a request, docetl looks the model up in LiteLLM's list. A model that is not there, such as one of a server of
# one's own, is taken to read 32,768 tokens, whatever it reads. What is longer has its middle cut out by a tokenizer
# that is not the model's. A line on the terminal says so. The row in the output does not.
#
# For a batch: a long document is judged by its beginning and its end, by a model that could have read all of it.
#
#> docetl 0.3.0
#> contract of 2000 clauses: 2000 of them sent, label fair
#>   what else was sent: nothing
#> contract of 10000 clauses: 2601 of them sent, label fair
#>   what else was sent: ['[66582 tokens truncated]']
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
asked = {}


def answer(path, body):
    prompt = body["messages"][-1]["content"]
    asked[prompt.partition(":")[0]] = prompt
    reply = completion(None)
    call = {"name": "send_output", "arguments": json.dumps({"label": "fair"})}
    reply["choices"][0]["message"]["tool_calls"] = [{"id": "1", "type": "function", "function": call}]
    return 200, {}, reply


rows = [{"name": f"contract of {count} clauses", "count": count,
         "text": "\n".join(f"Clause {i}. The parties agree." for i in range(count))}
        for count in (2000, 10000)]  # fmt: skip
Path("rows.json").write_text(json.dumps(rows), encoding="utf-8")
print("docetl", version("docetl"))
with serving(answer) as url, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    Pipeline(
        name="contracts",
        datasets={"rows": Dataset(type="file", path="rows.json")},
        operations=[MapOp(name="judge", type="map", model=MODEL, prompt="{{ input.name }}: {{ input.text }}",
                          output={"schema": {"label": "string"}}, litellm_completion_kwargs={"api_base": url})],
        steps=[PipelineStep(name="all", input="rows", operations=["judge"])],
        output=PipelineOutput(type="file", path="answers.json"),
        default_model=MODEL,
    ).run()  # fmt: skip
for row in json.loads(Path("answers.json").read_text(encoding="utf-8")):
    prompt = asked[row["name"]]
    print(f"{row['name']}: {len(re.findall('Clause [0-9]+[.]', prompt))} of them sent, label {row['label']}")
    print("  what else was sent:", re.findall(r"\[.*\]", prompt) or "nothing")
EOF
