"""What is known about requests before they are sent, and their estimated totals."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from pipeline.catalogue import Bounds, Price, cost
from pipeline.estimate.ranges import Range
from pipeline.records import Request, Usage, message_texts

_FEEDBACK_TOKENS = 2_500
"""The most tokens that a question adds about the answer before, which comes on top: 600 characters, two messages."""


class Sizes(Struct):
    """What is known of the requests to be sent, gathered one by one. `answers` is the most answers that each row can be
    asked for; the requests are those for the first.
    """

    requests: int = 0
    messages: int = 0
    bytes: int = 0
    max_prompt_tokens: int = 0
    max_tokens: int = 0
    without_max_tokens: int = 0
    answers: int = 1

    def add(self, request: Request) -> None:
        """Add one request."""
        self.requests += 1
        self.messages += len(request.messages)
        self.bytes += size(request)
        bounds = Bounds.of(request, None)
        self.max_prompt_tokens += bounds.prompt_tokens
        if bounds.completion_tokens is None:
            self.without_max_tokens += 1
        else:
            self.max_tokens += bounds.completion_tokens

    @property
    def most_prompt_tokens(self) -> int:
        """The most prompt tokens of all answers, each with the one before in its question."""
        further = self.answers - 1
        return self.answers * self.max_prompt_tokens + further * (self.max_tokens + self.requests * _FEEDBACK_TOKENS)

    @property
    def most_completion_tokens(self) -> int:
        """The most completion tokens of all answers whose requests have max_tokens."""
        return self.answers * self.max_tokens

    def worst_cost(self, price: Price | None) -> Decimal | None:
        """Return the most that the rows can cost, in USD; None if that is not known."""
        if self.without_max_tokens:
            return None
        return cost(price, Usage(self.most_prompt_tokens, self.most_completion_tokens))


class Totals(Struct, frozen=True):
    """Estimated totals of requests. `cost_usd` is None if prices are not known.

    `busy_seconds` are those of all requests, as if sent one after the other; `attempts` are the requests that a row
    takes on average, `requests` the rows, `last_seconds` how much longer than on average the last one may take.
    """

    prompt_tokens: Range[float]
    completion_tokens: Range[float]
    cost_usd: Range[Decimal] | None
    busy_seconds: Range[float]
    attempts: float = 1.0
    last_seconds: float = 0.0
    requests: int = 1

    def __add__(self, other: Totals) -> Totals:
        requests = self.requests + other.requests
        attempts = self.attempts * self.requests + other.attempts * other.requests
        return Totals(
            prompt_tokens=self.prompt_tokens.plus(other.prompt_tokens),
            completion_tokens=self.completion_tokens.plus(other.completion_tokens),
            cost_usd=self.cost_usd and other.cost_usd and self.cost_usd.plus(other.cost_usd),
            busy_seconds=self.busy_seconds.plus(other.busy_seconds),
            attempts=attempts / max(1, requests),
            last_seconds=max(self.last_seconds, other.last_seconds),
            requests=requests,
        )


def size(request: Request) -> int:
    """Return the bytes of the request's text in UTF-8."""
    return sum(len(text.encode("utf-8", "replace")) for text in message_texts(request.messages))
