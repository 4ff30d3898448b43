#!/bin/sh
# aiolimiter 1.3.0: who asks for more capacity waits behind all who ask for less, also those who come later.
#
# The waiting line is ordered by the amount first and by the time of arrival second. With tokens as the amount, a long
# prompt is not sent as long as shorter ones keep coming at the rate of the limit.
#
# For a batch: the long rows come last, or run into their time limit, although they asked first.
#
#> aiolimiter 1.3.0
#> 500 tokens a second; one row of 300 tokens asks first, then a row of 50 every 0.09 s
#> the first ten to be sent:   [50, 50, 50, 50, 50, 50, 50, 50, 50, 50]
#> sent before the row of 300: 30 of 30
. "$(dirname "$0")/support/check.sh"
install aiolimiter==1.3.0
check <<'EOF'
import asyncio
from importlib.metadata import version

from aiolimiter import AsyncLimiter

print("aiolimiter", version("aiolimiter"))
print("500 tokens a second; one row of 300 tokens asks first, then a row of 50 every 0.09 s")


async def main() -> None:
    limiter = AsyncLimiter(500, 1)
    sent = []

    async def send(tokens: int) -> None:
        await limiter.acquire(tokens)
        sent.append(tokens)

    await limiter.acquire(500)  # the burst that is free at the start
    rows = [asyncio.create_task(send(300))]
    for _ in range(30):
        await asyncio.sleep(0.09)
        rows.append(asyncio.create_task(send(50)))
    await asyncio.gather(*rows)
    print("the first ten to be sent:  ", sent[:10])
    print("sent before the row of 300:", sent.index(300), "of 30")


asyncio.run(main())
EOF
