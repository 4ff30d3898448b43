"""The admission of requests by rates and money: what a request reserves, and how that is settled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from pipeline.catalogue import NO_EXCESS, Bounds, Excess, Price, Terms, worst_cost
from pipeline.config.models import LimitsConfig
from pipeline.limits import SEND_WITHIN_SECONDS, Budget, Entry, LearnedRate, SlidingWindow
from pipeline.records import Request, Usage
from pipeline.runner.accounting import Charge

if TYPE_CHECKING:
    from pipeline.limits.shared import SharedEntry, SharedLimit

_COMPLETION_TOKENS_UNKNOWN = 1024


class Reservation(Struct, frozen=True):
    """What a request in flight reserves: its maximum cost in USD (None if unknown) and its maximum number of tokens, by
    its `bounds`.

    It was let in at `taken_at`, and may be sent until `send_by`, in monotonic seconds.
    """

    worst: Decimal | None
    bounds: Bounds
    most_tokens: int
    taken_at: float
    send_by: float
    request: Entry | None
    tokens: Entry | None
    shared: SharedEntry | None = None


class OverBudget(Exception):
    """The request might exceed a cost cap, if everything in flight costs its maximum."""


class Admission:
    """The job's rates and caps. Times are monotonic seconds.

    `spent` is in USD, possible bills included; `by_run` is this run's part of it. `shared` applies the same rates to
    what other jobs send too. `exceeded` tells by model how many prompt and completion tokens were billed beyond the
    assumed maximum, in earlier runs.
    """

    def __init__(
        self,
        limits: LimitsConfig,
        *,
        terms: Mapping[str, Terms],
        spent: Decimal,
        by_run: Decimal = Decimal(0),
        shared: SharedLimit | None = None,
        exceeded: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self._terms = terms
        self._budget = Budget(job_cap=limits.max_cost_usd, run_cap=limits.max_run_cost_usd, spent=spent, by_run=by_run)
        self._requests = SlidingWindow(limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = SlidingWindow(limits.tokens_per_minute) if limits.tokens_per_minute else None
        self._learned = LearnedRate()
        self._shared = shared
        self._excess = {model: Excess(*tokens) for model, tokens in (exceeded or {}).items()}

    def remember(self, sent: Iterable[tuple[float, float]], now: float) -> None:
        """Count what earlier runs sent against the rates: (seconds ago, tokens), oldest first."""
        for age, tokens in sent:
            if self._requests:
                self._requests.remember(1, age, now)
            if self._tokens:
                self._tokens.remember(tokens, age, now)

    def change(
        self, limits: LimitsConfig, now: float, sent: Iterable[tuple[float, float]], in_flight: Iterable[Reservation]
    ) -> None:
        """Change the rates and caps. A new rate counts `sent`, as in `remember`, and what is in flight."""
        self.change_caps(limits)
        past, held = list(sent), list(in_flight)
        requests = [(age, 1.0) for age, _ in past], [1.0 for _ in held]
        tokens = past, [float(one.most_tokens) for one in held]
        self._requests = _changed(self._requests, limits.requests_per_minute, now, *requests)
        self._tokens = _changed(self._tokens, limits.tokens_per_minute, now, *tokens)

    def change_caps(self, limits: LimitsConfig) -> None:
        """Change the caps, and leave the rates."""
        self._budget.set_caps(job_cap=limits.max_cost_usd, run_cap=limits.max_run_cost_usd)

    def reserve(self, request: Request, now: float) -> Reservation | float:
        """Reserve the maximum of a request, or return how many seconds to wait before asking again.

        Raises OverBudget, and CheckpointFailed if the file of a shared limit cannot be used.
        """
        known = self._terms[request.model]
        bounds = Bounds.of(request, known.context_window)
        worst = worst_cost(known.price, bounds, self._excess.get(request.model, NO_EXCESS))
        if not self._budget.allows(worst):
            raise OverBudget(self._budget.refusal(worst))
        most_tokens = bounds.prompt_tokens + (bounds.completion_tokens or _COMPLETION_TOKENS_UNKNOWN)
        wait = max(
            self._requests.wait(1, now) if self._requests else 0.0,
            self._tokens.wait(most_tokens, now) if self._tokens else 0.0,
            self._learned.wait(now),
        )
        if wait > 0:
            return wait
        shared = self._shared.reserve(most_tokens, now) if self._shared else None
        if isinstance(shared, float):
            return shared
        self._budget.reserve(worst)
        self._learned.take(now)
        send_by = now + SEND_WITHIN_SECONDS if self._requests or self._tokens else math.inf
        return Reservation(
            worst,
            bounds,
            most_tokens,
            now,
            send_by,
            self._requests.take(1, now, send_by) if self._requests else None,
            self._tokens.take(most_tokens, now, send_by) if self._tokens else None,
            shared,
        )

    def price(self, model: str) -> Price | None:
        """Return the price of a model; None if it is not known."""
        return self._terms[model].price

    def settle(self, reservation: Reservation, charge: Charge, sent_at: float) -> None:
        """Replace what a request had reserved by its charge; `sent_at` is when it was really sent."""
        self._budget.settle(reservation.worst, charge.total)
        if self._requests and reservation.request:
            self._requests.settle(reservation.request, 1, sent_at)
        if self._tokens and reservation.tokens:
            self._tokens.settle(reservation.tokens, charge.tokens, sent_at)
        if self._shared and reservation.shared:
            self._shared.settle(reservation.shared, charge.tokens, sent_at)

    def learn(self, model: str, bounds: Bounds, usage: Usage) -> Excess | None:
        """Reserve for every later request of the model what one was billed beyond its bounds.

        Returns the largest excess so far if this one had any, else None.
        """
        found = bounds.excess(usage)
        if found == NO_EXCESS:
            return None
        self._excess[model] = found.largest(self._excess.get(model, NO_EXCESS))
        return self._excess[model]

    def withdraw(self, reservation: Reservation) -> None:
        """Release everything that a request had reserved: it certainly never reached the endpoint."""
        self._budget.settle(reservation.worst, Decimal(0))
        self._learned.withdraw(reservation.taken_at)
        if self._requests and reservation.request:
            self._requests.settle(reservation.request, 0)
        if self._tokens and reservation.tokens:
            self._tokens.settle(reservation.tokens, 0)
        if self._shared and reservation.shared:
            self._shared.withdraw(reservation.shared)

    def pause(self, until: float) -> None:
        """Pause the jobs that share the limit too, since the endpoint asked for it."""
        if self._shared:
            self._shared.pause(until)

    def paused_until(self) -> float:
        """Return until when a job that shares the limit was asked to pause."""
        return self._shared.paused_until() if self._shared else 0.0

    @property
    def explains_refusals(self) -> bool:
        """Whether a learned rate handles refusals for a rate, or they are known to have another cause."""
        return self._learned.explains_refusals

    def outage_ended(self, now: float) -> None:
        """Forget what was sent during an outage."""
        self._learned.outage_ended(now)

    def refused(self, reservation: Reservation, now: float, resumes_at: float) -> None:
        """Count a request that was refused for its rate; `resumes_at` is when its Retry-After is over."""
        self._learned.refused(reservation.taken_at, now, resumes_at)


def _changed(
    window: SlidingWindow | None,
    per_minute: float | None,
    now: float,
    sent: Iterable[tuple[float, float]],
    in_flight: Iterable[float],
) -> SlidingWindow | None:
    """Return a window with another rate. A new one counts what was sent, and what is in flight."""
    if per_minute is None:
        return None
    if window is not None:
        window.set_rate(per_minute, now)
        return window
    window = SlidingWindow(per_minute)
    for age, amount in sent:
        window.remember(amount, age, now)
    for amount in in_flight:
        window.take(amount, now)
    return window
