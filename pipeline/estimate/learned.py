"""Totals of requests, extrapolated from requests that are finished."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import partial
from statistics import fmean

import numpy as np
from msgspec import Struct, field

from pipeline.catalogue import Price, cost
from pipeline.estimate.ranges import HOLDS, Range, extrapolate
from pipeline.estimate.sizes import Sizes, Totals
from pipeline.journal import ANSWERS, Outcome
from pipeline.records import Usage

MIN_ROWS = 5
"""Rows that must be known to learn from them."""


class Measure(Struct, frozen=True):
    """What one row took: tokens billed, USD of all its attempts (None if the price is not known), and for how
    long its attempts held a slot.
    """

    prompt_tokens: int
    completion_tokens: int
    usd: Decimal | None
    attempts: int
    seconds: float

    @classmethod
    def of(cls, state: int, record: Outcome, price: Price | None) -> Measure | None:
        """Return the measure of a row whose last event has this state and record, at today's price.

        None if it was never sent, or answered without valid usage.
        """
        usage = Usage(
            record.prompt_tokens, record.completion_tokens, record.total_tokens, cached_tokens=record.cached_tokens
        )
        attempts = record.attempts
        if not attempts or record.latency_seconds is None or (state in ANSWERS and not usage.is_priceable):
            return None
        before = (record.cost or Decimal(0)) - (record.billed_usd or 0)
        last = cost(price, usage) if state in ANSWERS or record.billed_usd is not None else Decimal(0)
        usd = None if last is None else before + last
        seconds = record.latency_seconds * attempts
        answers = max(1, record.answer_attempts)  # the tokens are those of the last one
        return cls(
            answers * (usage.prompt_tokens or 0), answers * (usage.completion_tokens or 0), usd, attempts, seconds
        )


class Sample(Struct):
    """Finished rows: the size of each request in bytes, and what it took. `is_drawn` if they were drawn at random from
    the job.
    """

    is_drawn: bool
    sizes: list[int] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sizes)

    def add(self, size: int, measure: Measure) -> None:
        """Add one row."""
        self.sizes.append(size)
        self.measures.append(measure)

    def totals(self, sizes: Sizes, price: Price | None) -> Totals:
        """Return what the requests take if they are like those of the sample, which has MIN_ROWS at least."""
        attempts, seconds = self._mean("attempts"), [one.seconds for one in self.measures]
        max_completion = math.inf if sizes.without_max_tokens else sizes.most_completion_tokens
        spent = [float(one.usd) for one in self.measures if one.usd is not None]
        usd = self._total(spent, sizes).map(_decimal) if len(spent) == len(self) and price is not None else None
        if usd is not None and (worst := sizes.worst_cost(price)) is not None:
            usd = usd.map(partial(min, worst * _decimal(attempts)))
        return Totals(
            prompt_tokens=self._sum("prompt_tokens", sizes).map(partial(min, sizes.most_prompt_tokens)),
            completion_tokens=self._sum("completion_tokens", sizes).map(partial(min, max_completion)),
            cost_usd=usd,
            busy_seconds=self._total(seconds, sizes),
            attempts=attempts,
            last_seconds=max(seconds) - self._mean("seconds"),
            requests=sizes.requests,
        )

    def assumptions(self) -> str:
        """Return what was learned, and what is assumed with it, in a sentence."""
        rows = "drawn at random" if self.is_drawn else "of the journal, as if they were drawn at random"
        bytes_a_token = sum(self.sizes) / max(1, sum(one.prompt_tokens for one in self.measures))
        return (
            f"learned from {len(self):,} rows {rows}: {bytes_a_token:.3g} bytes a prompt token,"
            f" {self._mean('completion_tokens'):,.4g} tokens an answer, {self._mean('attempts'):.3g} requests and"
            f" {self._mean('seconds'):.3g} s a row; ranges hold in about {HOLDS:.0%} of cases, if the"
            " rest are such rows and the endpoint stays as fast"
        )

    def _sum(self, name: str, sizes: Sizes) -> Range[float]:
        return self._total([getattr(one, name) for one in self.measures], sizes)

    def _total(self, values: list[float], sizes: Sizes) -> Range[float]:
        if not sizes.requests:
            return Range(0.0, 0.0, 0.0)
        known = np.asarray(self.sizes, np.float64)
        return extrapolate(known, np.asarray(values, np.float64), sizes.requests, sizes.bytes / sizes.requests)

    def _mean(self, name: str) -> float:
        return fmean(getattr(one, name) for one in self.measures)


def _decimal(value: float) -> Decimal:
    return Decimal(str(value))
