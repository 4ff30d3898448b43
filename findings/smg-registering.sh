#!/bin/sh
# SMG 1.13.0 (SGLang's gateway): a known model is a 404 model_not_found until its worker has registered.
#
# The gateway listens before it has asked its worker which models there are. Until then, after each start of the
# gateway, the reply is that of a misspelled model, neither 503 nor Retry-After.
#
# For a batch: a run that starts with the gateway, or outlives a restart of it, takes its model for unknown and ends.
#
#> SMG 1.13.0
#> first request:   404 model_not_found, Retry-After: none
#> seconds later:   200
#> misspelled name: 404 model_not_found
. "$(dirname "$0")/support/check.sh"
install smg==1.13.0
check <<'EOF'
import json
import time
from importlib.metadata import version

from wire import completion, free_port, running, send, serving


def worker(path, body):
    if body is None:
        time.sleep(1)  # a worker that has just been started is slow to tell about itself
        return 200, {}, {"object": "list", "data": [{"id": "small", "object": "model"}]}
    return 200, {}, completion("Hello.")


print("SMG", version("smg"))
port = free_port()
with serving(worker) as url:
    command = ["smg", "launch", "--worker-urls", url.removesuffix("/v1"), "--host", "127.0.0.1", "--port", str(port)]
    with running(command, port) as gateway:

        def ask(model: str):
            body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
            return send(f"{gateway}/v1/chat/completions", body)

        first = ask("small")
        print(f"first request:   {first.status} {json.loads(first.text)['error']['code']},",
              f"Retry-After: {first.headers['retry-after'] or 'none'}")  # fmt: skip
        while (later := ask("small")).status != 200:
            time.sleep(0.5)
        print(f"seconds later:   {later.status}")
        other = ask("smal")
        print(f"misspelled name: {other.status} {json.loads(other.text)['error']['code']}")
EOF
