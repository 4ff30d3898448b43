#!/bin/sh
# aiohttp-retry 2.9.1: the second attempt at an upload sends nothing, and counts as a success.
#
# Each attempt gets the same body object. A file in memory was read to its end by the first attempt, so the second sends
# an empty body, and the server's 200 for it is what the caller sees. Bytes are sent again. httpx-retries raises.
#
# For a batch: one 503 while a file of requests or answers is uploaded, and the file in the store is empty.
#
#> 8000 bytes are sent to a server whose first reply is 503
#> aiohttp-retry 2.9.1, bytes: status 200, received [8000, 8000]
#> aiohttp-retry 2.9.1, file in memory: status 200, received [8000, 0]
#> httpx-retries 0.6.0, bytes: status 200, received [8000, 8000]
#> httpx-retries 0.6.0, file in memory: LocalProtocolError
. "$(dirname "$0")/support/check.sh"
install aiohttp-retry==2.9.1 aiohttp==3.14.5 httpx-retries==0.6.0
check <<'EOF'
import asyncio
import io
import logging
from importlib.metadata import version

import httpx
from aiohttp_retry import ExponentialRetry, RetryClient
from httpx_retries import Retry, RetryTransport
from wire import serving

received = []


def server(path, body):
    received.append(len(body))
    return (503 if len(received) == 1 else 200), {}, {}


async def with_aiohttp_retry(url: str, body) -> int:
    async with RetryClient(retry_options=ExponentialRetry(attempts=3, start_timeout=0.01)) as client:
        async with client.post(url, data=body) as response:
            return response.status


def with_httpx_retries(url: str, body) -> int:
    retry = Retry(total=2, backoff_factor=0.01, allowed_methods=["POST"])
    with httpx.Client(transport=RetryTransport(retry=retry)) as client:
        return client.post(url, content=body).status_code


logging.disable()
print("8000 bytes are sent to a server whose first reply is 503")
with serving(server) as url:
    for name, run in (("aiohttp-retry", lambda url, body: asyncio.run(with_aiohttp_retry(url, body))),
                      ("httpx-retries", with_httpx_retries)):  # fmt: skip
        for kind, body in (("bytes", b"x" * 8000), ("file in memory", io.BytesIO(b"x" * 8000))):
            received.clear()
            try:
                outcome = f"status {run(url, body)}, received {received}"
            except Exception as error:
                outcome = type(error).__name__
            print(f"{name} {version(name)}, {kind}: {outcome}")
EOF
