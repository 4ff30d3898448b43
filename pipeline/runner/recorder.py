"""What a run records: everything of one iteration becomes durable in one commit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from pipeline.catalogue import Excess
from pipeline.journal import ANSWERS, FAILURES, Claim, Event, Journal, Outcome, State, lost_claims
from pipeline.plan import TO_SEND, Plan
from pipeline.records import NO_USAGE, Failure, Reply
from pipeline.runner.accounting import Charge
from pipeline.runner.admission import Reservation
from pipeline.runner.cached import CachedAnswers
from pipeline.runner.feed import Work
from pipeline.runner.progress import Progress


@dataclass(slots=True)
class _Group:
    """What the next commit makes durable."""

    events: list[Event] = field(default_factory=list)
    release: list[int] = field(default_factory=list)
    cost: Decimal = Decimal(0)
    possibly: Decimal = Decimal(0)
    in_doubt: int = 0
    pause: tuple[float, float] | None = None
    server_pauses: dict[str, tuple[float, float]] = field(default_factory=dict)
    excess: dict[str, tuple[int, int]] = field(default_factory=dict)
    bought: list[tuple[Work, Outcome]] = field(default_factory=list)


class Recorder:
    """Collects events, charges and the endpoint's pause for the next commit, and keeps the run's figures up to date.

    `unfinished` is the number of rows without an outcome. `wall_clock` returns Unix seconds. `cached` receives the
    answers once they are on disk, `recorded` all events.
    """

    def __init__(
        self,
        journal: Journal,
        plan: Plan,
        wall_clock: Callable[[], float],
        cached: CachedAnswers | None = None,
        recorded: Callable[[Sequence[Event]], None] = lambda events: None,
    ) -> None:
        self._cached = cached
        self._recorded = recorded
        self._journal = journal
        self._plan = plan
        self._wall_clock = wall_clock
        self._group = _Group()
        # The lines that are out in batches keep their numbers.
        first = 1 + max((claim.number for claim in journal.claims()), default=0)
        self._claim_numbers = itertools.count(first)
        self.progress = Progress()
        self.unfinished = plan.count(*TO_SEND)

    @property
    def pending_events(self) -> int:
        """The number of events that wait for the next commit."""
        return len(self._group.events)

    def claim(self, work: Work, reserved: Reservation) -> Claim:
        """Return the claim of a request that is about to be sent. The `commit` that it is passed to writes it."""
        worst = None if reserved.worst is None else str(reserved.worst)
        identity = (
            self._plan.number,
            work.position,
            work.row_id,
            work.request_hash,
            work.settings_id,
            work.content_key,
        )
        number = next(self._claim_numbers)
        return Claim(number, *identity, self._wall_clock(), worst, reserved.most_tokens, work.history.outcome())

    def release(self, number: int) -> None:
        """Close the claim of a request that is over."""
        self._group.release.append(number)

    def bill(self, result: Reply | Failure, work: Work, charge: Charge) -> None:
        """Count an attempt and what it cost."""
        self._group.cost += charge.known or 0
        self._group.possibly += charge.at_most or 0
        self._group.in_doubt += charge.in_doubt
        progress = self.progress
        if isinstance(result, Reply) or result.sent:
            progress.requests += 1
            progress.retries += work.history.attempts > 0
        progress.count(result.usage or NO_USAGE)
        progress.cost_usd += charge.known or 0
        progress.possibly_billed_usd += charge.at_most or 0

    def record(self, work: Work, state: State, record: Outcome) -> None:
        """Add what happened to a row. A longer answer is valid at once for everything that the truncated one was valid
        for.
        """
        identity = (work.row_id, work.request_hash, work.settings_id, work.content_key)
        self.add(Event(self._plan.number, work.position, state, *identity, record))
        if state in ANSWERS and self._cached is not None:
            self._group.bought.append((work, record))
        if state in ANSWERS and work.history.kept is not None:
            answer = self._journal.totals.events + len(self._group.events)
            adopted = State.ADOPTED if state is State.ANSWERED else State.ADOPTED_UNPRICED
            for request_hash in work.history.kept.stood_for:
                # Under no plan: in this one the row has the answer itself.
                self._group.events.append(
                    Event(
                        0,
                        0,
                        adopted,
                        work.row_id,
                        request_hash,
                        work.settings_id,
                        work.content_key,
                        Outcome(source=answer),
                    )
                )

    def add(self, event: Event) -> None:
        """Add an event. If the row keeps an answer, its failure is recorded together with that answer."""
        kept_as = None if event.state in ANSWERS else event.record.kept_as
        self._group.events.append(event if kept_as is None else replace(event, state=State(kept_as)))
        if event.state in ANSWERS:
            self.progress.succeeded += 1
            self.progress.truncated += event.record.truncated is True
            self.progress.empty += event.record.response_type == "empty"
        if event.state in FAILURES:
            self.progress.failed += 1
            self.progress.failures.add(event.record.error_kind or "", event.row_id)
        self.unfinished -= event.state in ANSWERS or event.state in FAILURES

    def pause(self, seconds: float, server: str | None = None) -> None:
        """Record the endpoint's Retry-After, or that of one of several servers, for the next runs."""
        now = self._wall_clock()
        if server is not None:
            until = max(now + seconds, *(end for _, end in (self._group.server_pauses.get(server, (0.0, 0.0)),)))
            self._group.server_pauses[server] = (now, until)
            return
        self._group.pause = (now, max(now + seconds, self._group.pause[1] if self._group.pause else 0.0))

    def give_up(self, claims: Iterable[Claim]) -> None:
        """Record requests whose end is not awaited. As after a kill, they may have been billed."""
        events, numbers, worst = lost_claims(claims)
        self.progress.possibly_billed_usd += worst
        self.progress.requests += len(events)
        self._group.events += events
        self._group.release += numbers
        self._group.possibly += worst
        self._group.in_doubt += len(events)

    def exceeded(self, model: str, excess: Excess, over_usd: Decimal) -> None:
        """Record the maximum that a request was billed beyond its reserve, and count this one's excess, in USD."""
        self._group.excess[model] = (excess.prompt_tokens, excess.completion_tokens)
        self.progress.over_reserve_usd += over_usd

    def check_journal(self) -> None:
        """Check that the journal is still where the next run will look for it. Raises CheckpointFailed."""
        self._journal.check_place()

    def commit(self, claims: list[Claim]) -> None:
        """Make what was collected durable, together with the claims of the requests that are sent next."""
        group, self._group = self._group, _Group()
        if group.events or group.release or claims or group.pause or group.server_pauses:
            first = self._journal.commit(
                group.events,
                release=group.release,
                claims=claims,
                cost_usd=group.cost,
                possibly_billed_usd=group.possibly,
                possibly_billed_requests=group.in_doubt,
                pause=group.pause,
                excess=group.excess,
                server_pauses=group.server_pauses,
            )
            self._plan.take(first, group.events)
            if self._cached is not None:
                self._cached.keep(group.bought)
            self._recorded(group.events)
