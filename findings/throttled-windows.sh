#!/bin/sh
# throttled-py 3.5.0: 60 a minute lets up to 120 through within a minute, whichever algorithm is chosen.
#
# A client that sends as soon as it may, on a clock of our own. The sliding window and the leaking bucket are chosen to
# avoid just that. The first estimates what is in its window from two fixed ones, and the second holds a whole quota
# before it begins to leak.
#
# For a batch: a provider that counts over any minute refuses a run that keeps to its limit.
#
#> throttled-py 3.5.0, 60 a minute, three minutes, sent as soon as it may
#> most within any 60 seconds:
#> fixed_window 120
#> sliding_window 118
#> token_bucket 119
#> leaking_bucket 119
#> gcra 119
. "$(dirname "$0")/support/check.sh"
install throttled-py==3.5.0
check <<'EOF'
import time
from importlib.metadata import version

START = 1_700_000_040.0  # the beginning of a minute
now = START
time.time = lambda: now
time.monotonic = lambda: now

from throttled import RateLimiterType, Throttled, rate_limiter, store  # noqa: E402

print(f"throttled-py {version('throttled-py')}, 60 a minute, three minutes, sent as soon as it may")
print("most within any 60 seconds:")
for using in ("fixed_window", "sliding_window", "token_bucket", "leaking_bucket", "gcra"):
    now = START + 59  # one second before a minute of the clock is over
    limiter = Throttled(key=using, using=RateLimiterType(using).value, quota=rate_limiter.per_min(60),
                        store=store.MemoryStore())  # fmt: skip
    sent = []
    for tick in range(1, 1800):
        while not limiter.limit().limited:
            sent.append(now)
        now = START + 59 + tick / 10
    print(using, max(sum(first <= moment < first + 60 for moment in sent) for first in set(sent)))
EOF
