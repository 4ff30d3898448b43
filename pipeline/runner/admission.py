"""Whether a request may go out now, by rates and money; what it reserves, and what it came to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline.catalogue import NO_EXCESS, Excess, Terms, excess, max_prompt_tokens, worst_cost
from pipeline.config.models import LimitsConfig
from pipeline.limits import SEND_WITHIN_SECONDS, Budget, Entry, LearnedRate, SlidingWindow
from pipeline.records import Request, Usage, json_text
from pipeline.runner.settle import Bill

if TYPE_CHECKING:
    from pipeline.limits.shared import SharedEntry, SharedLimit

_COMPLETION_TOKENS_UNKNOWN = 1024


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a request in flight holds: its worst cost in USD (None where not known) and the most tokens it can take.
    `taken_at` is when it was let in, and `send_by` until when it may be sent, in monotonic seconds.
    """

    worst: Decimal | None
    most_tokens: int
    taken_at: float
    send_by: float
    request: Entry | None
    tokens: Entry | None
    shared: SharedEntry | None = None


class OverBudget(Exception):
    """The request might exceed a cost cap, with all that is in flight at its worst."""


class Admission:
    """The job's rates and caps. Times are monotonic seconds; `spent` is in USD, what was possibly billed included.
    `shared` holds the same rates over what other jobs send too. `exceeded` is by model how many tokens of a prompt
    and of a completion were billed beyond what was assumed, in earlier runs.
    """

    def __init__(
        self,
        limits: LimitsConfig,
        *,
        terms: Mapping[str, Terms],
        spent: Decimal,
        shared: SharedLimit | None = None,
        exceeded: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self._terms = terms
        self._budget = Budget(job_cap=limits.max_cost_usd, run_cap=limits.max_run_cost_usd, spent=spent)
        self._requests = SlidingWindow(limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = SlidingWindow(limits.tokens_per_minute) if limits.tokens_per_minute else None
        self._learned = LearnedRate()
        self._shared = shared
        self._excess = {model: Excess(*tokens) for model, tokens in (exceeded or {}).items()}

    def remember(self, sent: Iterable[tuple[float, float]], now: float) -> None:
        """Count against the rates what earlier runs sent: (seconds ago, tokens), oldest first."""
        for age, tokens in sent:
            if self._requests:
                self._requests.remember(1, age, now)
            if self._tokens:
                self._tokens.remember(tokens, age, now)

    def change(
        self, limits: LimitsConfig, now: float, sent: Iterable[tuple[float, float]], in_flight: Iterable[Reservation]
    ) -> None:
        """Hold other rates and caps from now on. A rate that is new counts `sent`, as in `remember`, and what is in
        flight.
        """
        self._budget.set_caps(job_cap=limits.max_cost_usd, run_cap=limits.max_run_cost_usd)
        past, held = list(sent), list(in_flight)
        requests = [(age, 1.0) for age, _ in past], [1.0 for _ in held]
        tokens = past, [float(one.most_tokens) for one in held]
        self._requests = _changed(self._requests, limits.requests_per_minute, now, *requests)
        self._tokens = _changed(self._tokens, limits.tokens_per_minute, now, *tokens)

    def reserve(self, request: Request, now: float) -> Reservation | float:
        """Reserve what the request may take; or say how many seconds to wait before asking again.

        Raises OverBudget, and CheckpointFailed where the file of a shared limit cannot be used.
        """
        beyond = self._excess.get(request.model, NO_EXCESS)
        further = _tokens_of_extra_body(request)
        beyond = Excess(beyond.prompt_tokens + further, beyond.completion_tokens)
        known = self._terms[request.model]
        worst = worst_cost(
            known.price, request.messages, request.max_tokens, known.context_window, request.model, beyond
        )
        if not self._budget.allows(worst):
            raise OverBudget(self._budget.refusal(worst))
        completion = request.max_tokens or known.context_window or _COMPLETION_TOKENS_UNKNOWN
        most_tokens = max_prompt_tokens(request.messages, request.model) + further + completion
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
            most_tokens,
            now,
            send_by,
            self._requests.take(1, now, send_by) if self._requests else None,
            self._tokens.take(most_tokens, now, send_by) if self._tokens else None,
            shared,
        )

    def settle(self, reservation: Reservation, bill: Bill, sent_at: float) -> None:
        """Put what a request came to in the place of what it had reserved; `sent_at` is when it really went out."""
        self._budget.settle(reservation.worst, (bill.known or Decimal(0)) + (bill.at_most or Decimal(0)))
        if self._requests and reservation.request:
            self._requests.settle(reservation.request, 1, sent_at)
        if self._tokens and reservation.tokens:
            self._tokens.settle(reservation.tokens, bill.tokens, sent_at)
        if self._shared and reservation.shared:
            self._shared.settle(reservation.shared, bill.tokens, sent_at)

    def learn(self, request: Request, usage: Usage) -> Excess | None:
        """Reserve for every later request of the model what this one was billed beyond the most that was assumed.

        Returns the largest excess so far where this one had any.
        """
        window = self._terms[request.model].context_window
        most = request.max_tokens if request.max_tokens is not None else window
        found = excess(usage, request.messages, most, request.model)
        if found == NO_EXCESS:
            return None
        self._excess[request.model] = found.largest(self._excess.get(request.model, NO_EXCESS))
        return self._excess[request.model]

    def withdraw(self, reservation: Reservation) -> None:
        """Give back all that a request had reserved: it certainly never reached the endpoint."""
        self._budget.settle(reservation.worst, Decimal(0))
        self._learned.withdraw(reservation.taken_at)
        if self._requests and reservation.request:
            self._requests.settle(reservation.request, 0)
        if self._tokens and reservation.tokens:
            self._tokens.settle(reservation.tokens, 0)
        if self._shared and reservation.shared:
            self._shared.withdraw(reservation.shared)

    def pause(self, until: float) -> None:
        """The endpoint asked for a pause: it asked the jobs that share the limit too."""
        if self._shared:
            self._shared.pause(until)

    def paused_until(self) -> float:
        """Until when a job that shares the limit was asked to pause."""
        return self._shared.paused_until() if self._shared else 0.0

    @property
    def explains_refusals(self) -> bool:
        """Whether refusals for a rate are dealt with by a learned one, or are known to have another cause."""
        return self._learned.explains_refusals

    def begin_anew(self, now: float) -> None:
        """An outage is over."""
        self._learned.begin_anew(now)

    def refused(self, reservation: Reservation, now: float, resumes_at: float) -> None:
        """The endpoint refused a request for its rate; `resumes_at` is when its Retry-After is over."""
        self._learned.refused(reservation.taken_at, now, resumes_at)


def _tokens_of_extra_body(request: Request) -> int:
    """The most tokens that further keys of the body can add to the prompt, as tools and schemas do: one a byte."""
    return len(json_text(request.extra_body).encode()) if request.extra_body else 0


def _changed(
    window: SlidingWindow | None,
    per_minute: float | None,
    now: float,
    sent: Iterable[tuple[float, float]],
    in_flight: Iterable[float],
) -> SlidingWindow | None:
    """Return a window that holds another rate; one that is new has seen what was sent, and what is in flight."""
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
