#!/bin/sh
# distilabel 1.5.3: one row that is refused takes the answers of its whole batch with it.
#
# A task asks for the rows of a batch at once. When one request fails for good, as a prompt does that a filter refuses,
# the error is logged and every row of the batch gets None. The others were asked and answered. The run is a success.
#
# For a batch: with the usual 50 rows to a batch, one bad prompt in a hundred loses about two answers in five, all paid.
#
#> distilabel 1.5.3
#> in batches of 4: asked 8, answered [False, False, False, False, True, True, True, True]
#> in batches of 1: asked 8, answered [True, False, True, True, True, True, True, True]
. "$(dirname "$0")/support/check.sh"
install 'distilabel[openai]==1.5.3' requests==2.34.2
check <<'EOF'
import contextlib
import io
import logging
import os
import warnings
from importlib.metadata import version

from wire import completion, serving

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

asked = []


def server(path, body):
    text = body["messages"][-1]["content"]
    asked.append(text)
    if text == "bad":
        return 400, {}, {"error": {"message": "refused by the filter", "code": "content_filter"}}
    return 200, {}, completion(f"answer to {text}")


def run(url: str, size: int) -> None:
    asked.clear()
    with Pipeline(name="answers", cache_dir=f"cache {size}") as pipeline:
        rows = LoadDataFromDicts(data=[{"instruction": text} for text in ("a", "bad", *"cdefgh")], batch_size=8)
        rows >> TextGeneration(llm=OpenAILLM(model="small", base_url=url, api_key="unused"), input_batch_size=size)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = pipeline.run(use_cache=False)["default"]["train"]
    answered = {row["instruction"]: row["generation"] is not None for row in found}
    print(f"in batches of {size}: asked {len(asked)}, answered {[answered[text] for text in ('a', 'bad', *'cdefgh')]}")


if __name__ == "__main__":
    print("distilabel", version("distilabel"))
    logging.disable()
    with serving(server) as url:
        run(url, 4)
        run(url, 1)
EOF
