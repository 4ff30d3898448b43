#!/bin/sh
# limits 5.8.0: in a fixed window, a request that is refused uses up what it was refused.
#
# `hit` consumes a request, and all requests in a window count (pypi.org/project/limits). That includes those that were
# refused: a hit whose cost is too large for what is left is counted all the same, so that smaller ones are refused
# until the window ends. The other two strategies leave the rest.
#
# For a batch: under a limit of tokens a minute, one long prompt that has to wait stops all the short ones.
#
#> limits 5.8.0, 20 tokens an hour
#> FixedWindowRateLimiter
#>   8: True, left 12; 8: True, left 4; 8: False, left 0; 1: False, left 0
#> MovingWindowRateLimiter
#>   8: True, left 12; 8: True, left 4; 8: False, left 4; 1: True, left 3
#> SlidingWindowCounterRateLimiter
#>   8: True, left 12; 8: True, left 4; 8: False, left 4; 1: True, left 3
. "$(dirname "$0")/support/check.sh"
install limits==5.8.0
check <<'EOF'
from importlib.metadata import version

from limits import RateLimitItemPerHour, storage, strategies

print(f"limits {version('limits')}, 20 tokens an hour")
for name in ("FixedWindowRateLimiter", "MovingWindowRateLimiter", "SlidingWindowCounterRateLimiter"):
    limiter, tokens = getattr(strategies, name)(storage.MemoryStorage()), RateLimitItemPerHour(20)
    print(name)
    told = [f"{cost}: {limiter.hit(tokens, cost=cost)}, left {limiter.get_window_stats(tokens).remaining}"
            for cost in (8, 8, 8, 1)]  # fmt: skip
    print("  " + "; ".join(told))
EOF
