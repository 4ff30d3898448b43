#!/bin/sh
# dspy 3.4.1 and accrue 1.5.2: the cache ignores which server was asked.
#
# Its key has the model's name, the messages and the parameters, and leaves out the address. Two servers that serve two
# checkpoints under one name share their answers. dspy's cache is on by default, and kept on disk for other processes.
#
# For a batch: a fine-tuned model is compared with its base, and both columns hold the answers of the one asked first.
#
#> dspy 3.4.1
#>   server of the base:       asked 1, answers ['from the base']
#>   server of the fine-tuned: asked 0, answers ['from the base']
#>   in another process:       asked 0, answers ['from the base']
#> accrue 1.5.2
#>   server of the base:       asked 1, answers ['from the base']
#>   server of the fine-tuned: asked 0, answers ['from the base']
. "$(dirname "$0")/support/check.sh"
install dspy==3.4.1 accrue==1.5.2
check <<'EOF'
import json
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
        text = f"from the {name}"
        return 200, {}, completion(json.dumps({"greeting": text}) if "response_format" in body else text)

    return answer


def with_dspy(url: str) -> list[str]:
    return dspy.LM("openai/small", api_base=url, api_key="unused")("Hello")


def with_accrue(url: str) -> list[str]:
    step = LLMStep("greet", fields={"greeting": "a greeting"}, model="small", base_url=url, api_key="unused")
    found = Pipeline([step]).run(pandas.DataFrame({"name": ["Ada"]}), EnrichmentConfig(enable_caching=True))
    return found.data["greeting"].to_list()


os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", DSPY_CACHEDIR="cache")
import dspy  # noqa: E402
import pandas  # noqa: E402
from accrue import EnrichmentConfig, LLMStep, Pipeline  # noqa: E402

with serving(server("base")) as base, serving(server("fine-tuned")) as tuned:
    for tool, run in (("dspy", with_dspy), ("accrue", with_accrue)):
        print(tool, version(tool))
        for name, url in (("base", base), ("fine-tuned", tuned)):
            asked.clear()
            answers = run(url)
            print(f"  server of the {name}:".ljust(27), f"asked {asked.count(name)}, answers {answers}")
        if tool == "dspy":
            asked.clear()
            other = subprocess.run([sys.executable, "-c", PROGRAM, tuned], capture_output=True, text=True, check=True)
            print("  in another process:".ljust(27), f"asked {len(asked)}, answers {other.stdout.strip()}")
EOF
