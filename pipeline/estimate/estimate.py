"""Tokens, cost and time of the requests to be sent, under the job's limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import reduce
from operator import add

from msgspec import Struct

from pipeline.catalogue import ChatTemplate, Price
from pipeline.config.models import LimitsConfig
from pipeline.estimate.assumed import assumed_totals, assumptions
from pipeline.estimate.learned import MIN_ROWS, Sample
from pipeline.estimate.ranges import Range
from pipeline.estimate.sizes import Sizes, Totals

_FOUND = Range(8, 64, 700)
"""Requests in flight where their number is found while sending: from one small server to a fleet."""


class Part(Struct, frozen=True):
    """Requests to one model: their sizes, its price and chat template as far as known, and requests like them."""

    sizes: Sizes
    price: Price | None
    sample: Sample | None = None
    template: ChatTemplate | None = None

    @property
    def learned(self) -> Sample | None:
        """The sample, where it has enough rows to learn from."""
        return self.sample if self.sample is not None and len(self.sample) >= MIN_ROWS else None

    @property
    def totals(self) -> Totals:
        """The totals of the requests."""
        if self.learned is None:
            return assumed_totals(self.sizes, self.price, self.template)
        return self.learned.totals(self.sizes, self.price)

    @property
    def assumptions(self) -> str:
        """What that rests on, in a sentence."""
        if self.learned is not None:
            return self.learned.assumptions()
        answers = self.sizes.answers
        further = f"; at most {answers} answers a row (expect.attempts)" if answers > 1 else ""
        return f"{assumptions()}{further}"


class Estimate(Struct, frozen=True):
    """Tokens, cost and time of the rows to send. `cost_usd` is None if prices are not known; `worst_cost_usd` is an
    upper bound. `learned_from` is the number of rows that this was learned from, 0 for none.
    """

    requests: int
    prompt_tokens: Range[int]
    completion_tokens: Range[int]
    cost_usd: Range[Decimal] | None
    worst_cost_usd: Decimal | None
    seconds: Range[float]
    learned_from: int
    assumptions: str

    def affordable_rows(self, left_usd: Decimal) -> Range[int] | None:
        """Return how many of the rows an amount pays for; None if prices are not known.

        A cap keeps back the worst case of one request.
        """
        if self.cost_usd is None:
            return None
        kept_back = (self.worst_cost_usd or Decimal(0)) / max(1, self.requests)

        def rows(total: Decimal, money: Decimal) -> int:
            if total <= money or not total:
                return self.requests
            return max(0, math.floor(money / total * self.requests))

        return Range(
            rows(self.cost_usd.high, left_usd - kept_back),
            rows(self.cost_usd.expected, left_usd - kept_back),
            rows(self.cost_usd.low, left_usd),
        )


def estimate(
    sizes: Sizes,
    price: Price | None,
    limits: LimitsConfig,
    sample: Sample | None = None,
    template: ChatTemplate | None = None,
) -> Estimate:
    """Return the estimate from a sample, or from stated ratios (and the chat template) if it has too few rows."""
    return estimate_parts([Part(sizes, price, sample, template)], limits)


def estimate_parts(parts: Sequence[Part], limits: LimitsConfig) -> Estimate:
    """Return the same for requests to several models, whose answers differ in length and price. There is one part at
    least.
    """
    asked = [part for part in parts if part.sizes.requests] or list(parts[:1])
    totals = reduce(add, (part.totals for part in asked))
    requests = sum(part.sizes.requests for part in asked)
    worst = [part.sizes.worst_cost(part.price) for part in asked]
    known = [amount for amount in worst if amount is not None]
    words = dict.fromkeys(part.assumptions for part in asked)
    return Estimate(
        requests=requests,
        prompt_tokens=_whole(totals.prompt_tokens),
        completion_tokens=_whole(totals.completion_tokens),
        cost_usd=totals.cost_usd,
        worst_cost_usd=sum(known, Decimal(0)) if len(known) == len(worst) else None,
        seconds=_seconds(requests, totals, limits),
        learned_from=sum(len(part.learned or ()) for part in asked),
        assumptions="; ".join(words) if requests else "nothing is left to send",
    )


def _whole(tokens: Range[float]) -> Range[int]:
    return Range(math.floor(tokens.low), round(tokens.expected), math.ceil(tokens.high))


def _seconds(requests: int, totals: Totals, limits: LimitsConfig) -> Range[float]:
    """Return the longest of the times that the slots, the requests a minute and the tokens a minute allow."""
    asked = limits.concurrency
    slots = _FOUND if asked == "auto" else Range(asked, asked, asked)

    def seconds(busy: float, tokens: float, in_flight: int) -> float:
        found = busy / min(in_flight, max(1, requests))
        if limits.requests_per_minute:
            found = max(found, requests * totals.attempts / limits.requests_per_minute * 60)
        if limits.tokens_per_minute:
            found = max(found, tokens / limits.tokens_per_minute * 60)
        return found

    busy, prompt, completion = totals.busy_seconds, totals.prompt_tokens, totals.completion_tokens
    last = totals.last_seconds if requests else 0.0
    return Range(
        seconds(busy.low, prompt.low + completion.low, slots.high),
        seconds(busy.expected, prompt.expected + completion.expected, slots.expected),
        seconds(busy.high, prompt.high + completion.high, slots.low) + last,
    )
