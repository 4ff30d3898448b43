#!/bin/sh
# groq 1.7.0 and together 3.1.1: a wait of more than 60 seconds is not shortened, but dropped for one of about a second.
#
# Both clients take Retry-After for what it says up to 60 seconds. One second more, and their own backoff holds, which
# begins at half a second. The default attempts are then used up before the limit can have ended.
#
# For a batch: the longer the server asks to wait, the sooner it is asked again, and the row fails within seconds.
#
#> groq 1.7.0
#>   Retry-After 60: requests 3, waits of 60 s: 2, below 3 s: 0, RateLimitError
#>   Retry-After 61: requests 3, waits of 61 s: 0, below 3 s: 2, RateLimitError
#> together 3.1.1
#>   Retry-After 60: requests 3, waits of 60 s: 2, below 3 s: 0, RateLimitError
#>   Retry-After 61: requests 3, waits of 61 s: 0, below 3 s: 2, RateLimitError
. "$(dirname "$0")/support/check.sh"
install groq==1.7.0 together==3.1.1
check <<'EOF'
import time
from importlib.metadata import version

from groq import Groq
from together import Together
from wire import serving

requests = 0
wait = 0
waits = []


def refuse(path, body):
    global requests
    requests += 1
    return 429, {"Retry-After": str(wait)}, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}


time.sleep = waits.append  # nothing else here sleeps
with serving(refuse) as url:
    for name, client in (("groq", Groq(api_key="unused", base_url=url)),
                         ("together", Together(api_key="unused", base_url=url))):  # fmt: skip
        print(name, version(name))
        for wait in (60, 61):
            requests = 0
            waits.clear()
            try:
                client.chat.completions.create(model="small", messages=[{"role": "user", "content": "Hello"}])
                outcome = "answered"
            except Exception as error:
                outcome = type(error).__name__
            print(f"  Retry-After {wait}: requests {requests}, waits of {wait} s: {waits.count(wait)},",
                  f"below 3 s: {sum(seconds < 3 for seconds in waits)}, {outcome}")  # fmt: skip
EOF
