#!/bin/sh
# polars-llm 0.4.0 asks rows that a condition leaves out, asks null as an empty text, and asks twice for two columns.
#
# A call is an expression of polars, and polars computes both sides of `when` for all rows and keeps one. So the rows
# that were not to be asked are bought, and their answers are dropped. A column that is computed from the answers in the
# same step buys all of them again. A null prompt is sent as an empty text. Rows that are filtered before are not sent.
#
# For a batch: a run for the missing rows costs as much as one for all, and with their lengths twice that.
#
#> polars-llm 0.4.0, prompts a, b and null
#>   when("missing") for the first row alone: sent 'a', 'b', ''; kept 'answer', None, None
#>   filter("missing") before: sent 'a'; kept 'answer'
#>   answers and their lengths in one step: sent 'a', 'a', 'b', 'b', '', ''
. "$(dirname "$0")/support/check.sh"
install 'polars-llm[openai]==0.4.0' langchain-openai==1.7.4 polars==2.1.0
check <<'EOF'
from importlib.metadata import version

import polars as pl
import polars_llm  # noqa: F401
from langchain_openai import ChatOpenAI
from wire import completion, serving

sent = []


def answer(path, body):
    sent.append(body["messages"][-1]["content"])
    return 200, {}, completion("answer")


def tell(what: str, rows: pl.DataFrame, *, kept: bool = True) -> None:
    answers = f"; kept {', '.join(map(repr, rows['answer']))}" if kept else ""
    order = sorted(sent, key=lambda prompt: prompt or "c")
    print(f"  {what}: sent {', '.join(map(repr, order))}{answers}")
    sent.clear()


prompts = pl.DataFrame({"prompt": ["a", "b", None], "missing": [True, False, False]})
print(f"polars-llm {version('polars-llm')}, prompts a, b and null")
with serving(answer) as url:
    asked = pl.col("prompt").llm.chat(client=ChatOpenAI(model="small", base_url=url, api_key="unused"))
    tell('when("missing") for the first row alone', prompts.with_columns(answer=pl.when("missing").then(asked)))
    tell('filter("missing") before', prompts.filter("missing").with_columns(answer=asked))
    both = prompts.with_columns(answer=asked, length=asked.str.len_chars())
    tell("answers and their lengths in one step", both, kept=False)
EOF
