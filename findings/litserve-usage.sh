#!/bin/sh
# LitServe 0.2.19: its OpenAI endpoint reports 0 tokens for every answer, and takes any model for its own.
#
# `usage` is there and well formed. max_tokens: 1 leaves the answer whole with finish_reason "stop", and a misspelled
# model is echoed with status 200. All of it is the default for a `predict` that yields text.
#
# For a batch: the bill is zero, and a cost cap never stops the run.
#
#> LitServe 0.2.19
#> {'model': 'small'}
#>   200, model small, stop: An answer of five words.
#>   usage {'prompt_tokens': 0, 'total_tokens': 0, 'completion_tokens': 0}
#> {'model': 'small', 'max_tokens': 1}
#>   200, model small, stop: An answer of five words.
#>   usage {'prompt_tokens': 0, 'total_tokens': 0, 'completion_tokens': 0}
#> {'model': 'smal'}
#>   200, model smal, stop: An answer of five words.
#>   usage {'prompt_tokens': 0, 'total_tokens': 0, 'completion_tokens': 0}
. "$(dirname "$0")/support/check.sh"
install litserve==0.2.19
check <<'EOF'
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

from wire import free_port, running, send

SERVER = """
import sys

import litserve


class Answers(litserve.LitAPI):
    def setup(self, device):
        pass

    def predict(self, prompt):
        yield "An answer of five words."


if __name__ == "__main__":
    server = litserve.LitServer(Answers(spec=litserve.OpenAISpec()), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
"""

print("LitServe", version("litserve"))
Path("server.py").write_text(SERVER)
port = free_port()
with running([sys.executable, "server.py", str(port)], port) as url:
    for case in ({"model": "small"}, {"model": "small", "max_tokens": 1}, {"model": "smal"}):
        body = {"messages": [{"role": "user", "content": "Hello"}], **case}
        while (reply := send(f"{url}/v1/chat/completions", body)).status == 503:  # its worker process is starting
            time.sleep(0.5)
        answer = json.loads(reply.text)
        print(case)
        print(f"  {reply.status}, model {answer['model']}, {answer['choices'][0]['finish_reason']}:",
              answer["choices"][0]["message"]["content"])  # fmt: skip
        print("  usage", answer["usage"])
EOF
