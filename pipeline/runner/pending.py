"""What the next commit makes durable, whether rows are sent one by one or by batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from msgspec import field

from pipeline.journal import ANSWERS, FAILURES, Changes, Claim, Event, Journal, Outcome, State
from pipeline.journal.batches import OpenBatch
from pipeline.plan import Plan
from pipeline.records import NO_USAGE, Failure, Reply
from pipeline.runner.accounting import Charge
from pipeline.runner.cached import CachedAnswers
from pipeline.runner.progress import Progress


class _Group(Changes):
    """The changes of the next commit."""

    events: list[Event] = field(default_factory=list)
    release: list[int] = field(default_factory=list)
    server_pauses: dict[str, tuple[float, float]] = field(default_factory=dict)
    excess: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def is_due(self) -> bool:
        """Whether there is anything that a commit is worth."""
        return bool(self.events or self.release or self.pause or self.server_pauses)


class PendingCommit:
    """Collects events, charges, released claims and pauses until the next commit, and counts them in `progress`.

    `cached` receives the answers, and writes them once they are on disk; `recorded` receives all events then.
    `progress` is what the run has done before.
    """

    def __init__(
        self,
        journal: Journal,
        plan: Plan,
        cached: CachedAnswers | None = None,
        recorded: Callable[[Sequence[Event]], None] = lambda events: None,
        progress: Progress | None = None,
    ) -> None:
        self.journal = journal
        self.plan = plan
        self.progress = progress or Progress()
        self._cached = cached
        self._recorded = recorded
        self._group = _Group()

    @property
    def events(self) -> int:
        """The number of events that wait."""
        return len(self._group.events)

    @property
    def size(self) -> int:
        """The number of events and of released claims that wait."""
        return len(self._group.events) + len(self._group.release)

    def add(self, event: Event, *, recorded_as: State | None = None) -> None:
        """Add an event. It counts by its own state, also where another one is recorded."""
        self._group.events.append(event if recorded_as is None else event._replace(state=recorded_as))
        progress, record = self.progress, event.record
        if event.state in ANSWERS:
            progress.succeeded += 1
            progress.truncated += record.truncated is True
            progress.empty += record.response_type == "empty"
        elif event.state in FAILURES:
            progress.failed += 1
            progress.failures.add(record.error_kind or "", event.row_id)

    def release(self, number: int) -> None:
        """Close the claim of a request that is over."""
        self._group.release.append(number)

    def bill(self, result: Reply | Failure, charge: Charge, *, is_retry: bool) -> None:
        """Count an attempt and what it cost."""
        group, progress = self._group, self.progress
        group.possibly_billed_requests += charge.in_doubt
        if charge.known is not None:
            group.cost_usd += charge.known
            progress.cost_usd += charge.known
        if charge.at_most is not None:
            group.possibly_billed_usd += charge.at_most
            progress.possibly_billed_usd += charge.at_most
        if isinstance(result, Reply) or result.sent:
            progress.requests += 1
            progress.retries += is_retry
        progress.count(result.usage or NO_USAGE)

    def lose(self, events: Sequence[Event], claims: Sequence[int], worst: Decimal) -> None:
        """Add requests whose end is not awaited: their events, their claims, and what they may have cost (USD)."""
        self._group.events += events
        self._group.release += claims
        self._group.possibly_billed_usd += worst
        self._group.possibly_billed_requests += len(events)
        self.progress.possibly_billed_usd += worst
        self.progress.requests += len(events)

    def keep(self, place: tuple[str, int] | None, answer: Outcome) -> None:
        """Store an answer at its place in the cache, if the job has one."""
        if place is not None and self._cached is not None:
            self._cached.keep(place, answer)

    def pause(self, now: float, until: float) -> None:
        """Record the endpoint's pause (Unix seconds). The longer of several is kept."""
        self._group.pause = (now, max(until, self._group.pause[1] if self._group.pause else 0.0))

    def pause_server(self, server: str, now: float, until: float) -> None:
        """Record the pause of one of several servers."""
        before = self._group.server_pauses.get(server)
        self._group.server_pauses[server] = (now, until if before is None else max(until, before[1]))

    def exceeded(self, excess: Mapping[str, tuple[int, int]]) -> None:
        """Record by model the maximum that a request was billed beyond its bounds, in tokens."""
        self._group.excess.update(excess)

    def commit(self, claims: Sequence[Claim] = (), batches: Sequence[OpenBatch] | None = None) -> None:
        """Make everything durable, with the claims of the requests that are sent next and, if given, the batches that
        are out. Does nothing if there is nothing.
        """
        if not (claims or self._group.is_due) and batches is None:
            return
        group, self._group = self._group, _Group()
        group.claims, group.batches = claims, batches
        first = self.journal.commit(group)
        self.plan.take(first, group.events)
        if self._cached is not None:
            self._cached.write()
        self._recorded(group.events)
