#!/bin/sh
# vllm-router 0.1.17: a full queue is a 408 without a body, sent at once.
#
# No 429 or 503, no Retry-After, no content type. The request was never passed on, while a 408 usually means that a
# server gave up waiting.
#
# For a batch: a client that takes a 408 for a request that may have run counts money that was never spent, and one
# that reads the body for the reason finds none.
#
#> vllm-router 0.1.17
#> statuses of four requests: [200, 408]
#> 408: at once, body '', type None, Retry-After: none
#> passed on: only the others
. "$(dirname "$0")/support/check.sh"
install vllm-router==0.1.17
check <<'EOF'
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

from wire import completion, free_port, running, send, serving

asked = []


def worker(path, body):
    if path != "/v1/chat/completions":
        return 200, {}, {"object": "list", "data": [{"id": "small", "object": "model"}]}
    asked.append(body)
    time.sleep(5)
    return 200, {}, completion("Hello.")


print("vllm-router", version("vllm-router"))
port = free_port()
with serving(worker) as url:
    command = ["vllm-router", "--worker-urls", url.removesuffix("/v1"), "--host", "127.0.0.1", "--port", str(port),
               "--max-concurrent-requests", "1", "--queue-size", "1", "--queue-timeout-secs", "60"]  # fmt: skip
    with running(command, port) as router:

        def ask(number: int) -> tuple[float, int, str, str, object]:
            time.sleep(number * 0.5)
            start = time.monotonic()
            body = {"model": "small", "messages": [{"role": "user", "content": f"row {number}"}]}
            reply = send(f"{router}/v1/chat/completions", body)
            waits = {name for name in reply.headers if name.lower() == "retry-after"}
            return time.monotonic() - start, reply.status, reply.text, str(reply.headers["content-type"]), waits

        with ThreadPoolExecutor(4) as threads:
            replies = list(threads.map(ask, range(4)))
        print("statuses of four requests:", sorted({reply[1] for reply in replies}))
        seconds, status, text, kind, waits = next(reply for reply in replies if reply[1] == 408)
        when = "at once" if seconds < 2 else "late"
        print(f"{status}: {when}, body {text!r}, type {kind}, Retry-After: {waits or 'none'}")
        print("passed on:", "only the others" if len(asked) == sum(reply[1] == 200 for reply in replies) else "more")
EOF
