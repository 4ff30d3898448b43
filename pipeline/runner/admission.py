"""Whether a request may go out now, by rates and money; what it reserves, and what it came to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from pipeline.catalogue import Price, most_prompt_tokens, worst_cost
from pipeline.config.models import LimitsConfig
from pipeline.limits import Budget, SlidingWindow
from pipeline.records import Request
from pipeline.runner.settle import Bill

_COMPLETION_TOKENS_UNKNOWN = 1024


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a request in flight holds: its worst cost in USD (None where not known) and the most tokens it can take."""

    worst: Decimal | None
    most_tokens: int
    entry: list[float] | None


class OverBudget(Exception):
    """The request might exceed a cost cap, with all that is in flight at its worst."""


class Admission:
    """The job's rates and caps. Times are monotonic seconds; `spent` is in USD, what was possibly billed included."""

    def __init__(
        self, limits: LimitsConfig, *, price: Price | None, context_window: int | None, spent: Decimal
    ) -> None:
        self._price = price
        self._context_window = context_window
        self._budget = Budget(job_cap=limits.max_cost_usd, run_cap=limits.max_run_cost_usd, spent=spent)
        self._requests = SlidingWindow(limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = SlidingWindow(limits.tokens_per_minute) if limits.tokens_per_minute else None

    def remember(self, sent: Iterable[tuple[float, float]], now: float) -> None:
        """Count against the rates what earlier runs sent: (seconds ago, tokens), oldest first."""
        for age, tokens in sent:
            if self._requests:
                self._requests.remember(1, age, now)
            if self._tokens:
                self._tokens.remember(tokens, age, now)

    def reserve(self, request: Request, now: float) -> Reservation | float:
        """Reserve what the request may take; or say how many seconds to wait before asking again.

        Raises OverBudget.
        """
        worst = worst_cost(self._price, request.messages, request.max_tokens, self._context_window)
        if not self._budget.allows(worst):
            raise OverBudget
        completion = request.max_tokens or self._context_window or _COMPLETION_TOKENS_UNKNOWN
        most_tokens = most_prompt_tokens(request.messages) + completion
        wait = max(
            self._requests.wait(1, now) if self._requests else 0.0,
            self._tokens.wait(most_tokens, now) if self._tokens else 0.0,
        )
        if wait > 0:
            return wait
        self._budget.reserve(worst)
        if self._requests:
            self._requests.take(1, now)
        return Reservation(worst, most_tokens, self._tokens.take(most_tokens, now) if self._tokens else None)

    def settle(self, reservation: Reservation, bill: Bill) -> None:
        """Put what a request came to in the place of what it had reserved."""
        self._budget.settle(reservation.worst, (bill.known or Decimal(0)) + (bill.at_most or Decimal(0)))
        if self._tokens and reservation.entry is not None and bill.tokens is not None:
            self._tokens.settle(reservation.entry, bill.tokens)
