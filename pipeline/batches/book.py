"""The lines that are out in batches: their claims, their money, and what becomes of their rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from pipeline.batches.known import LinePrices, max_tokens_under
from pipeline.batches.lines import line_id
from pipeline.catalogue import Terms
from pipeline.client import Attempt
from pipeline.errors import ErrorKind
from pipeline.journal import ANSWERS, FAILURES, Claim, Event, Outcome, State
from pipeline.journal.batches import OpenBatch
from pipeline.plan import SUCCEEDED
from pipeline.records import Failure, Reply
from pipeline.retry import PASSING, Decision, decide
from pipeline.runner import Asking
from pipeline.runner.accounting import charge_of, failed_record, record_of
from pipeline.runner.admission import Admission, Reservation
from pipeline.runner.asking import with_answers
from pipeline.runner.feed import History, Work
from pipeline.runner.pending import PendingCommit
from pipeline.runner.progress import Progress
from pipeline.runner.refusals import Refusals

_COMMIT_EVENTS = 1000

RowKey = tuple[str, str]
"""A row's id and the hash of what it asks."""

_Refused = tuple[Claim, Outcome, ErrorKind]
"""A line that was refused, the record of its attempt, and why."""


class Book:
    """Keeps the open claims of batches, and records what comes of them.

    `terms` are those of single requests by model, `admission` holds the caps, `asking` judges the answers where the job
    says what they have to be, `wall_clock` gives Unix seconds.
    `asks_again` tells that rows are left that this run sends again; `is_stale` that an answer was recorded for a row
    whose place in the plan is not known, so that the next run has to plan anew.
    """

    def __init__(
        self,
        pending: PendingCommit,
        *,
        terms: Mapping[str, Terms],
        max_attempts: int,
        admission: Admission,
        asking: Asking | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        journal = pending.journal
        self._pending = pending
        self._plan = pending.plan
        known = journal.settings()
        self._models = {number: str(found["model"]) for number, found in known.items()}
        self.prices = LinePrices(terms)
        self._max_tokens = {number: max_tokens_under(found) for number, found in known.items()}
        self._max_attempts = max_attempts
        self._admission = admission
        self._reserved: dict[int, Reservation] = {}
        self._asking = asking
        self._in_form: set[int] = set()
        """The lines whose requests tell the endpoint in a form that it may refuse."""
        self._cached_as: dict[int, tuple[str, int]] = {}
        self._wall_clock = wall_clock
        self._tries: Counter[RowKey] = Counter()
        self.claims: dict[int, Claim] = {}
        self._lines: dict[str, dict[int, None]] = {}
        """The numbers of the open claims of each batch, by its key."""
        self._numbers: dict[RowKey, int] = {}
        self.worst_usd = Decimal(0)
        """What the open lines may cost at most, in USD, as far as prices are known."""
        for claim in journal.lines_out():
            self._put(claim)
        self.batches: dict[str, OpenBatch] = {batch.key: batch for batch in journal.totals.batches}
        self.next_number = max(self.claims, default=0) + 1
        self._done: set[RowKey] = set()
        self.refusals = Refusals[_Refused](is_new=not self._plan.count(*SUCCEEDED))
        """What refused lines say about the job; a row that they hold is pending until it is known."""
        self.asks_again = False
        self.is_stale = False

    @property
    def progress(self) -> Progress:
        """The run's figures."""
        return self._pending.progress

    def learn_places(self, works: Callable[[], Iterable[Work | Event]]) -> None:
        """Learn where the rows stand whose lines are from an earlier plan; `works` are read only if there are any."""
        strange = {key for key, number in self._numbers.items() if self.claims[number].plan != self._plan.number}
        for work in works() if strange else ():
            if isinstance(work, Work) and self.is_out(work):
                strange.discard((work.row_id, work.request_hash))
            if not strange:
                break

    def is_out(self, work: Work) -> bool:
        """Return whether a row is in an open batch, or was answered out of one by this run; learn its place, and the
        settings by which its answer is judged.
        """
        key = (work.row_id, work.request_hash)
        number = self._numbers.get(key)
        if number is not None:
            here = {"plan": self._plan.number, "position": work.position, "settings_id": work.settings_id}
            self.claims[number] = replace(self.claims[number], **here)
        return number is not None or key in self._done

    def claim(self, work: Work, reserved: Reservation, batch: str) -> Claim:
        """Return the claim of a row that is about to go out as a line of a batch."""
        number, self.next_number = self.next_number, self.next_number + 1
        self._reserved[number] = reserved
        if work.cached_as is not None:
            self._cached_as[number] = work.cached_as
        if self._asking is not None and self._asking.is_in_form(work.request):
            self._in_form.add(number)
        return Claim(
            number,
            self._plan.number,
            work.position,
            work.row_id,
            work.request_hash,
            work.settings_id,
            work.content_key,
            self._wall_clock(),
            None if reserved.worst is None else str(reserved.worst),
            reserved.most_tokens,
            work.history.outcome(),
            batch,
        )

    def open(self, batch: OpenBatch, claims: Iterable[Claim]) -> None:
        """Put the intent of a batch on disk, with the claims of its lines."""
        found = list(claims)
        self.batches[batch.key] = batch
        self._commit_batches(found)
        for claim in found:
            self._put(claim)

    def update(self, batch: OpenBatch) -> None:
        """Put on disk what is known of a batch by now."""
        if self.batches.get(batch.key) != batch:
            self.batches[batch.key] = batch
            self._commit_batches()

    def lines_of(self, batch: OpenBatch) -> list[int]:
        """Return the claims of a batch that are still open."""
        return list(self._lines.get(batch.key, ()))

    def line_ids(self, batch: OpenBatch) -> dict[str, int]:
        """Return the open claims of a batch by the `custom_id` of their lines."""
        return {line_id(*_key(self.claims[number])): number for number in self.lines_of(batch)}

    def close(self, batch: OpenBatch) -> None:
        """Take a batch off the books, whose lines are all settled."""
        del self.batches[batch.key]
        self._commit_batches()

    def add(self, event: Event) -> None:
        """Record a row that makes no request: it fails, or its answer comes from a cache."""
        self._pending.add(event)
        self._commit_if_many()

    def give_back(self, number: int) -> None:
        """Close the claim of a line that was never worked on: nothing is billed, and no attempt is used up."""
        self._take(number)
        if (reserved := self._reserved.pop(number, None)) is not None:
            self._admission.withdraw(reserved)
        self.asks_again = True
        self._commit_if_many()

    def settle(self, number: int, result: Reply | Failure, reply: str | None = None) -> Failure | None:
        """Bill and record what came of a line, and what becomes of its row; `reply` is the reply as it came, where the
        job keeps it. Returns a failure that every line meets.
        """
        claim, worst = self._take(number)
        now = self._wall_clock()
        price = self.prices.of_line(self._models[claim.settings_id], self.batches[claim.batch])
        charge = charge_of(result, price, worst, claim.worst_tokens)
        self._pending.bill(result, charge, is_retry=claim.history.attempts > 0)
        if (reserved := self._reserved.pop(number, None)) is not None:
            self._admission.settle(reserved, charge, 0.0)
        history = History.of(claim.history)
        attempt = Attempt(number, result, claim.claimed_at, now, max(0.0, now - claim.claimed_at), reply=reply)
        record = record_of(attempt, result, self._max_tokens[claim.settings_id], history, charge, price)
        place = self._cached_as.pop(number, None)
        fatal = None
        if isinstance(result, Reply):
            self._take_answer(claim, record, history, place)
        else:
            fatal = self._take_failure(claim, with_answers(record, history), result)
        self._in_form.discard(number)
        self._commit_if_many()
        return fatal

    def _take_failure(self, claim: Claim, record: Outcome, failure: Failure) -> Failure | None:
        """Record a failed line, and what becomes of its row. Returns a failure that every line meets."""
        self._record(claim, State.ATTEMPTED, record)
        if self._asking is not None and claim.number in self._in_form and self._asking.falls_back(failure):
            self.asks_again = True
            return None
        decision = decide(failure)
        if decision is Decision.STOP:
            return failure
        self._tries[_key(claim)] += decision is Decision.RETRY
        if decision in (Decision.FAIL, Decision.REFUSE):
            self._done.add(_key(claim))
            refused = (claim, record, failure.kind)
            self._fail(self.refusals.refused(refused, failure, Decision.FAIL, failure.message))
        elif self._tries[_key(claim)] >= self._max_attempts:
            self._fail([(claim, record, failure.kind)])
        else:
            self.asks_again = True
        return None

    def _fail(self, rows: Iterable[_Refused]) -> None:
        for claim, record, kind in rows:
            self._record(claim, State.FAILED_PASSING if kind in PASSING else State.FAILED, failed_record(record))

    def fail_held(self) -> None:
        """Let the rows that refusals hold fail, unless the job is refused as a whole: then they stay pending."""
        self._fail(self.refusals.left())

    def _take_answer(self, claim: Claim, record: Outcome, history: History, place: tuple[str, int] | None) -> None:
        """Record an answer: the row's, or an invalid one, after which it is asked again unless it has had enough."""
        self._fail(self.refusals.answered())
        objection = None
        if self._asking is not None:
            record, objection = self._asking.judged(record, history)
        if self._asking is None or objection is None:
            self._record(claim, State.UNPRICED if record.cost is None else State.ANSWERED, record)
            self._pending.keep(place, record)
        elif self._asking.asks_again(record):
            self._record(claim, State.ATTEMPTED, record)
            self.asks_again = True
        else:
            self._record(claim, State.FAILED, record._replace(failed_runs=record.failed_runs + 1))

    def commit(self) -> None:
        """Make durable what was gathered."""
        self._pending.commit()

    def _commit_batches(self, claims: Sequence[Claim] = ()) -> None:
        self._pending.commit(claims, list(self.batches.values()))

    def _commit_if_many(self) -> None:
        if self._pending.size >= _COMMIT_EVENTS:
            self.commit()

    def _put(self, claim: Claim) -> None:
        self.claims[claim.number] = claim
        self._lines.setdefault(claim.batch, {})[claim.number] = None
        self._numbers[_key(claim)] = claim.number
        self.worst_usd += Decimal(claim.worst_cost or 0)

    def _take(self, number: int) -> tuple[Claim, Decimal | None]:
        """Close a claim. Returns it, with the maximum that its request can cost."""
        claim = self.claims.pop(number)
        worst = None if claim.worst_cost is None else Decimal(claim.worst_cost)
        lines = self._lines[claim.batch]
        del lines[number], self._numbers[claim.row_id, claim.request_hash]
        if not lines:
            del self._lines[claim.batch]
        self.worst_usd = self.worst_usd - (worst or 0) if self.claims else Decimal(0)
        self._pending.release(number)
        return claim, worst

    def _record(self, claim: Claim, state: State, record: Outcome) -> None:
        identity = (claim.row_id, claim.request_hash, claim.settings_id, claim.content_key)
        self._pending.add(Event(claim.plan, claim.position, state, *identity, record))
        self.is_stale = self.is_stale or claim.plan != self._plan.number
        if state in ANSWERS or state in FAILURES:
            self._done.add((claim.row_id, claim.request_hash))


def _key(claim: Claim) -> RowKey:
    return claim.row_id, claim.request_hash
