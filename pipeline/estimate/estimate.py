"""Tokens, cost and time of the requests to be sent, under the job's limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from pipeline.catalogue import ChatTemplate, Price
from pipeline.config.models import LimitsConfig
from pipeline.estimate.assumed import assumed_totals, assumptions
from pipeline.estimate.learned import MIN_ROWS, Sample
from pipeline.estimate.ranges import Range
from pipeline.estimate.sizes import Sizes, Totals


@dataclass(frozen=True, slots=True)
class Estimate:
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
    learned = sample if sample is not None and len(sample) >= MIN_ROWS else None
    totals = assumed_totals(sizes, price, template) if learned is None else learned.totals(sizes, price)
    return Estimate(
        requests=sizes.requests,
        prompt_tokens=_whole(totals.prompt_tokens),
        completion_tokens=_whole(totals.completion_tokens),
        cost_usd=totals.cost_usd,
        worst_cost_usd=sizes.worst_cost(price),
        seconds=_seconds(sizes.requests, totals, limits),
        learned_from=0 if learned is None else len(learned),
        assumptions=_assumptions(sizes, learned),
    )


def _assumptions(sizes: Sizes, learned: Sample | None) -> str:
    if not sizes.requests:
        return "nothing is left to send"
    if learned is not None:
        return learned.assumptions()
    further = f"; at most {sizes.answers} answers a row (expect.attempts)" if sizes.answers > 1 else ""
    return f"{assumptions()}{further}"


def _whole(tokens: Range[float]) -> Range[int]:
    return Range(math.floor(tokens.low), round(tokens.expected), math.ceil(tokens.high))


def _seconds(requests: int, totals: Totals, limits: LimitsConfig) -> Range[float]:
    """Return the longest of the times that the slots, the requests a minute and the tokens a minute allow."""
    in_flight = min(limits.concurrency, max(1, requests))

    def seconds(busy: float, tokens: float) -> float:
        found = busy / in_flight
        if limits.requests_per_minute:
            found = max(found, requests * totals.attempts / limits.requests_per_minute * 60)
        if limits.tokens_per_minute:
            found = max(found, tokens / limits.tokens_per_minute * 60)
        return found

    busy, prompt, completion = totals.busy_seconds, totals.prompt_tokens, totals.completion_tokens
    last = totals.last_seconds if requests else 0.0
    return Range(
        seconds(busy.low, prompt.low + completion.low),
        seconds(busy.expected, prompt.expected + completion.expected),
        seconds(busy.high, prompt.high + completion.high) + last,
    )
