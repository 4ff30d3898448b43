"""What a run records: everything of one iteration becomes durable in one commit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from decimal import Decimal

from pipeline.catalogue import Excess
from pipeline.journal import ANSWERS, FAILURES, Claim, Event, Outcome, State, lost_claims
from pipeline.plan import TO_SEND
from pipeline.records import Failure, Reply
from pipeline.runner.accounting import Charge
from pipeline.runner.admission import Reservation
from pipeline.runner.feed import Work
from pipeline.runner.pending import PendingCommit
from pipeline.runner.progress import Progress


class Recorder:
    """Turns what happens to rows into events and claims for the next commit.

    `unfinished` is the number of rows without an outcome. `wall_clock` returns Unix seconds.
    """

    def __init__(self, pending: PendingCommit, wall_clock: Callable[[], float]) -> None:
        self._pending = pending
        self._journal = pending.journal
        self._plan = pending.plan
        self._wall_clock = wall_clock
        # The lines that are out in batches keep their numbers.
        first = 1 + max((claim.number for claim in self._journal.claims()), default=0)
        self._claim_numbers = itertools.count(first)
        self.unfinished = self._plan.count(*TO_SEND)

    @property
    def progress(self) -> Progress:
        """The run's figures."""
        return self._pending.progress

    @property
    def pending_events(self) -> int:
        """The number of events that wait for the next commit."""
        return self._pending.events

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
        self._pending.release(number)

    def bill(self, result: Reply | Failure, work: Work, charge: Charge) -> None:
        """Count an attempt and what it cost."""
        self._pending.bill(result, charge, is_retry=work.history.attempts > 0)

    def record(self, work: Work, state: State, record: Outcome) -> None:
        """Add what happened to a row. A longer answer is valid at once for everything that the truncated one was valid
        for.
        """
        self.add(work.event(self._plan.number, state, record))
        if state not in ANSWERS:
            return
        self._pending.keep(work.cached_as, record)
        if work.history.kept is not None:
            answer = self._journal.totals.events + self._pending.events
            adopted = State.ADOPTED if state is State.ANSWERED else State.ADOPTED_UNPRICED
            for request_hash in work.history.kept.stood_for:
                # Under no plan: in this one the row has the answer itself.
                further = (work.row_id, request_hash, work.settings_id, work.content_key)
                self._pending.add(Event(0, 0, adopted, *further, Outcome(source=answer)))

    def take(self, work: Work, answer: Outcome) -> None:
        """Add the answer that a row takes from the cache."""
        self.add(work.event(self._plan.number, State.ANSWERED, answer))

    def add(self, event: Event) -> None:
        """Add an event. If the row keeps an answer, its failure is recorded together with that answer."""
        kept_as = None if event.state in ANSWERS else event.record.kept_as
        self._pending.add(event, recorded_as=None if kept_as is None else State(kept_as))
        self.unfinished -= event.state in ANSWERS or event.state in FAILURES

    def pause(self, seconds: float, server: str | None = None) -> None:
        """Record the endpoint's Retry-After, or that of one of several servers, for the next runs."""
        now = self._wall_clock()
        if server is None:
            self._pending.pause(now, now + seconds)
        else:
            self._pending.pause_server(server, now, now + seconds)

    def give_up(self, claims: Iterable[Claim]) -> None:
        """Record requests whose end is not awaited. As after a kill, they may have been billed."""
        self._pending.lose(*lost_claims(claims))

    def exceeded(self, model: str, excess: Excess, over_usd: Decimal) -> None:
        """Record the maximum that a request was billed beyond its reserve, and count this one's excess, in USD."""
        self._pending.exceeded({model: (excess.prompt_tokens, excess.completion_tokens)})
        self.progress.over_reserve_usd += over_usd

    def check_journal(self) -> None:
        """Check that the journal is still where the next run will look for it. Raises CheckpointFailed."""
        self._journal.check_place()

    def commit(self, claims: list[Claim]) -> None:
        """Make what was collected durable, together with the claims of the requests that are sent next."""
        self._pending.commit(claims)
