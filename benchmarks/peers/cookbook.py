"""The parallel processor of OpenAI's cookbook, unchanged but for its check that addresses begin with https.

It takes JSON lines and leaves JSON lines; here they are made from Parquet and read back into it.
"""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks import BUILD
from benchmarks.peers.task import KEY, MAX_TOKENS, TEMPERATURE, Task, messages

DIRECTORY = BUILD / "cookbook"
SCRIPT = DIRECTORY / "api_request_parallel_processor.py"
"""Where the script has to be put by hand; it is in openai/openai-cookbook, below examples/."""


def main(task: Task) -> None:
    """Run the whole job."""
    sys.path.insert(0, str(DIRECTORY))
    import api_request_parallel_processor as processor

    processor.api_endpoint_from_url = lambda url: "chat/completions"
    requests, replies = task.directory / "requests.jsonl", task.directory / "replies.jsonl"
    with requests.open("w", encoding="utf-8") as file:
        for row, prompt in zip(*task.read(), strict=True):
            request = {
                "model": task.model,
                "messages": messages(prompt),
                "max_tokens": MAX_TOKENS,
                "temperature": TEMPERATURE,
                "metadata": {"row": row},
            }
            file.write(json.dumps(request) + "\n")
    asyncio.run(
        processor.process_api_requests_from_file(
            requests_filepath=str(requests),
            save_filepath=str(replies),
            request_url=f"{task.base}/chat/completions",
            api_key=KEY,
            max_requests_per_minute=1e9,
            max_tokens_per_minute=1e12,
            token_encoding_name="cl100k_base",
            max_attempts=5,
            logging_level=40,
        )
    )
    with replies.open(encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    task.write(
        [metadata["row"] for _, _, metadata in found],
        [reply["choices"][0]["message"]["content"] for _, reply, _ in found],
    )


if __name__ == "__main__":
    main(Task.of_command_line())
