#!/bin/sh
# dspy 3.4.1: the cache ignores which server was asked.
#
# The cache is on by default and kept on disk. Its key has the model's name, the messages and the parameters, and leaves
# out the address. Two servers that serve two checkpoints under one name share their answers, in the next process too.
#
# For a batch: a fine-tuned model is compared with its base, and both columns hold the answers of the one asked first.
#
#> dspy 3.4.1
#> server of the base:       asked 1, answers ['from the base']
#> server of the fine-tuned: asked 0, answers ['from the base']
#> in another process:       asked 0, answers ['from the base']
. "$(dirname "$0")/support/check.sh"
install dspy==3.4.1
check <<'EOF'
import os
import subprocess
import sys
from importlib.metadata import version

from wire import completion, serving

PROGRAM = """
import sys
import dspy
print(dspy.LM("openai/small", api_base=sys.argv[1], api_key="unused")("Hello"))
"""
asked = []


def server(name: str):
    def answer(path, body):
        if body is None:
            return 404, {}, {}
        asked.append(name)
        return 200, {}, completion(f"from the {name}")

    return answer


os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", DSPY_CACHEDIR="cache")
import dspy  # noqa: E402

print("dspy", version("dspy"))
with serving(server("base")) as base, serving(server("fine-tuned")) as tuned:
    for name, url in (("base", base), ("fine-tuned", tuned)):
        answers = dspy.LM("openai/small", api_base=url, api_key="unused")("Hello")
        print(f"server of the {name}:".ljust(25), f"asked {asked.count(name)}, answers {answers}")
    asked.clear()
    answers = subprocess.run([sys.executable, "-c", PROGRAM, tuned], capture_output=True, text=True, check=True).stdout
    print("in another process:".ljust(25), f"asked {len(asked)}, answers {answers.strip()}")
EOF
