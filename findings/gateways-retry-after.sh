#!/bin/sh
# vllm-router 0.1.17 and SMG 1.13.0 send a refused request five times within a second, whatever Retry-After says.
#
# The server behind says 429 with Retry-After: 7. Both pass the header on only after they have tried again four times
# without waiting.
#
# For a batch: a provider's limit behind a gateway is overrun five times as fast as the client can see, and each of the
# client's own attempts costs five.
#
#> vllm-router 0.1.17
#>   the client sends 1 request, and gets 429, Retry-After: 7
#>   the server behind got 5, all within 3 seconds
#> smg 1.13.0
#>   the client sends 1 request, and gets 429, Retry-After: 7
#>   the server behind got 5, all within 3 seconds
. "$(dirname "$0")/support/check.sh"
install vllm-router==0.1.17 smg==1.13.0
check <<'EOF'
import time
from importlib.metadata import version

from wire import completion, free_port, running, send, serving

asked = []


def worker(path, body):
    if path != "/v1/chat/completions":
        return 200, {}, {"object": "list", "data": [{"id": "small", "object": "model"}]}
    asked.append(time.monotonic())
    if body["messages"][0]["content"] == "hello":
        return 200, {}, completion("Hello.")
    return 429, {"Retry-After": "7"}, {"error": {"message": "slow down"}}


with serving(worker) as url:
    for name, command in (("vllm-router", ["vllm-router"]), ("smg", ["smg", "launch"])):
        port = free_port()
        command += ["--worker-urls", url.removesuffix("/v1"), "--host", "127.0.0.1", "--port", str(port)]
        with running(command, port) as gateway:

            def ask(text: str):
                body = {"model": "small", "messages": [{"role": "user", "content": text}]}
                return send(f"{gateway}/v1/chat/completions", body)

            while ask("hello").status != 200:
                time.sleep(0.5)
            asked.clear()
            reply = ask("refused")
            print(name, version(name))
            print(f"  the client sends 1 request, and gets {reply.status}, Retry-After: {reply.headers['retry-after']}")
            within = "all" if asked[-1] - asked[0] < 3 else "not all"
            print(f"  the server behind got {len(asked)}, {within} within 3 seconds")
EOF
