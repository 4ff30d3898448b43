#!/bin/sh
# litellm 1.110.2: `num_retries=2` sends five requests where three are expected, and sends a 400 again too.
#
# Two layers try again. The openai client below tries twice more by itself, also without `num_retries`. The layer of
# `num_retries` is around it and knows no status, so a request that is wrong is sent three times. It does not wait, and
# `max_retries=0` does not turn the layer below off. It is off in the outer attempts after the first, hence five.
#
# For a batch: a row that a filter refuses costs three prompts, and a limit is hit five times within seconds.
#
#> litellm 1.110.2
#> status 500: requests 3, with num_retries=2: 5, with max_retries=0 as well: 5
#> status 429: requests 3, with num_retries=2: 5, with max_retries=0 as well: 5
#> status 400: requests 1, with num_retries=2: 3, with max_retries=0 as well: 3
#> status 404: requests 1, with num_retries=2: 3, with max_retries=0 as well: 3
. "$(dirname "$0")/support/check.sh"
install litellm==1.110.2 openai==3.57.0 tenacity==9.2.1
check <<'EOF'
import logging
import os
import time
from importlib.metadata import version

from wire import serving

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402

litellm.suppress_debug_info = True
logging.disable()
requests = 0
status = 0


def refuse(path, body):
    global requests
    requests += 1
    return status, {}, {"error": {"message": "no", "code": "x"}}


def count(**more) -> int:
    global requests
    requests = 0
    try:
        litellm.completion("openai/small", [{"role": "user", "content": "Hello"}], api_key="unused", **more)
    except Exception:
        return requests


print("litellm", version("litellm"))
time.sleep = lambda seconds: None  # nothing else here sleeps
with serving(refuse) as url:
    for status in (500, 429, 400, 404):
        print(f"status {status}: requests {count(api_base=url)},",
              f"with num_retries=2: {count(api_base=url, num_retries=2)},",
              f"with max_retries=0 as well: {count(api_base=url, num_retries=2, max_retries=0)}")  # fmt: skip
EOF
