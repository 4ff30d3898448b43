#!/bin/sh
# vllm-router 0.1.17: two requests that the server cannot answer take the server away from everyone.
#
# Each request that ends in a 500 is sent five times, and ten failures in a row open the circuit of that worker. From
# then on every request gets a 503 in plain text, although the server answers others well. Some servers say 500 to a
# single bad row for good (an image to a text model, a message with a null key).
#
# For a batch: rows that are all right fail because of two that are not.
#
#> vllm-router 0.1.17
#> good row: 200, sent 1 times, application/json: answered
#> bad row: 500, sent 5 times, application/json: {"error": {"message": "image input is not supported"}}
#> bad row: 500, sent 5 times, application/json: {"error": {"message": "image input is not supported"}}
#> good row: 503, sent 0 times, text/plain; charset=utf-8: No available workers (all circuits open or unhealthy)
. "$(dirname "$0")/support/check.sh"
install vllm-router==0.1.17
check <<'EOF'
from importlib.metadata import version

from wire import completion, free_port, running, send, serving

asked = []


def worker(path, body):
    if path != "/v1/chat/completions":
        return 200, {}, {"object": "list", "data": [{"id": "small", "object": "model"}]}
    asked.append(body)
    if body["messages"][0]["content"] == "bad row":
        return 500, {}, {"error": {"message": "image input is not supported"}}
    return 200, {}, completion("Hello.")


print("vllm-router", version("vllm-router"))
port = free_port()
with serving(worker) as url:
    command = ["vllm-router", "--worker-urls", url.removesuffix("/v1"), "--host", "127.0.0.1", "--port", str(port)]
    with running(command, port) as router:
        for text in ("good row", "bad row", "bad row", "good row"):
            before = len(asked)
            body = {"model": "small", "messages": [{"role": "user", "content": text}]}
            reply = send(f"{router}/v1/chat/completions", body)
            shown = "answered" if reply.status == 200 else reply.text
            print(f"{text}: {reply.status}, sent {len(asked) - before} times, {reply.headers['content-type']}: {shown}")
EOF
