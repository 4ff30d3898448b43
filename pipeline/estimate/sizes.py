"""What is known of requests before they are sent, and what they are taken to come to."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from pipeline.catalogue import Price, cost, max_prompt_tokens
from pipeline.estimate.ranges import Range
from pipeline.records import Request, Usage, message_texts


@dataclass(slots=True)
class Sizes:
    """What is known of the requests to be sent, gathered one by one."""

    requests: int = 0
    messages: int = 0
    bytes: int = 0
    max_prompt_tokens: int = 0
    max_tokens: int = 0
    without_max_tokens: int = 0

    def add(self, request: Request) -> None:
        """Add one request."""
        self.requests += 1
        self.messages += len(request.messages)
        self.bytes += size(request)
        self.max_prompt_tokens += max_prompt_tokens(request.messages, request.model)
        if request.max_tokens is None:
            self.without_max_tokens += 1
        else:
            self.max_tokens += request.max_tokens

    def worst_cost(self, price: Price | None) -> Decimal | None:
        """Return the most that the requests can cost, each answered once, in USD; None if that is not known."""
        return None if self.without_max_tokens else cost(price, Usage(self.max_prompt_tokens, self.max_tokens))


@dataclass(frozen=True, slots=True)
class Totals:
    """What requests are taken to come to. `cost_usd` is None where prices are not known.

    `busy_seconds` are those of all requests, as if sent one after the other; `attempts` are the requests that a row
    takes on average, `last_seconds` how much longer than on average the last one may take.
    """

    prompt_tokens: Range[float]
    completion_tokens: Range[float]
    cost_usd: Range[Decimal] | None
    busy_seconds: Range[float]
    attempts: float = 1.0
    last_seconds: float = 0.0


def size(request: Request) -> int:
    """Return the bytes of the request's text in UTF-8."""
    return sum(len(text.encode("utf-8", "replace")) for text in message_texts(request.messages))
