#!/bin/sh
# chatlas 0.23.0 and distilabel 1.5.3: when one row of a batch fails, all rows behind it get the answer of the next.
#
# OpenAI's Batch API puts the answers into an output file and the failed rows into an error file. Both tools read the
# output file only, sort it by the numbers in `custom_id`, and pair it with the prompts by position. The last row is
# left out. chatlas never takes a batch that has expired for ended, so it waits on, and its answers are not fetched.
#
# For a batch: one refused row moves the answers of all rows behind it, and nothing tells.
#
#> chatlas 0.23.0
#>   all answered: a -> answer to a, b -> answer to b, c -> answer to c, d -> answer to d
#>   b failed: a -> answer to a, b -> answer to c, c -> answer to d
#>   expired: not ended
#> distilabel 1.5.3
#>   all answered: a -> answer to a, b -> answer to b, c -> answer to c, d -> answer to d
#>   b failed: a -> answer to a, b -> answer to c, c -> answer to d
. "$(dirname "$0")/support/check.sh"
install 'chatlas[openai]==0.23.0' 'distilabel[openai]==1.5.3' openai==3.57.0 requests==2.34.2
check <<'EOF'
import contextlib
import io
import json
import logging
import os
import warnings
from importlib.metadata import version

from wire import completion, serving

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")
import chatlas
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

PROMPTS = ["a", "b", "c", "d"]
custom_ids = []
failed, status = set(), "completed"


def line(prompt: str, custom_id: str) -> str:
    response = {"status_code": 200, "request_id": "1", "body": completion(f"answer to {prompt}")}
    return json.dumps({"id": "1", "custom_id": custom_id, "response": response, "error": None})


def server(path, body):
    if path.endswith("/content"):
        rows = zip(PROMPTS, custom_ids, strict=True)
        return 200, {}, "\n".join(line(prompt, custom_id) for prompt, custom_id in rows if prompt not in failed)
    if path == "/v1/files":
        sent = [json.loads(row) for row in body.splitlines() if row.startswith(b"{")]
        custom_ids[:] = [row["custom_id"] for row in sent]
        return 200, {}, {"id": "file-1", "object": "file", "bytes": 1, "created_at": 1, "filename": "rows.jsonl",
                         "purpose": "batch", "status": "processed"}  # fmt: skip
    return 200, {}, {
        "id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-1",
        "completion_window": "24h", "created_at": 1, "status": status,
        "output_file_id": "file-2", "error_file_id": "file-3" if failed else None,
        "request_counts": {"total": 4, "completed": 4 - len(failed), "failed": len(failed)},
    }  # fmt: skip


def with_chatlas(url: str, name: str) -> list[tuple[str, str]] | None:
    chat = chatlas.ChatOpenAICompletions(base_url=url, api_key="unused", model="small")
    texts = chatlas.batch_chat_text(chat, PROMPTS, f"{name}.json", wait=status == "completed")
    return None if texts is None else list(zip(PROMPTS, texts))


def with_distilabel(url: str, name: str) -> list[tuple[str, str]]:
    llm = OpenAILLM(model="small", base_url=url, api_key="unused", use_offline_batch_generation=True,
                    offline_batch_generation_block_until_done=1)  # fmt: skip
    with Pipeline(name="answers", cache_dir=name) as pipeline:
        rows = LoadDataFromDicts(data=[{"instruction": prompt} for prompt in PROMPTS])
        rows >> TextGeneration(llm=llm)
    found = pipeline.run(use_cache=False)["default"]["train"]
    return [(row["instruction"], row["generation"]) for row in found]


def tell(name: str, run) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pairs = run(url, name)
    print(f"  {name}:", "not ended" if pairs is None else ", ".join(f"{prompt} -> {text}" for prompt, text in pairs))


if __name__ == "__main__":
    logging.disable()
    with serving(server) as url:
        for tool, run in (("chatlas", with_chatlas), ("distilabel", with_distilabel)):
            print(tool, version(tool))
            for name, failed in (("all answered", set()), ("b failed", {"b"})):
                tell(name, run)
            if tool == "chatlas":
                status = "expired"
                tell("expired", run)
                status = "completed"
EOF
