"""The rows that are to be sent, in input order, rendered one by one."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from msgspec import Struct, field

from pipeline.errors import ErrorKind
from pipeline.expect import Expected
from pipeline.journal import ANSWERS, NOTHING, Event, Journal, Outcome, State
from pipeline.plan import TO_SEND, Plan, Rows, UnsentFailure
from pipeline.records import Request, message_texts
from pipeline.runner.cached import CachedAnswers
from pipeline.sources.files import InputFile, check_unchanged

_SECONDS_BETWEEN_LOOKS = 1.0
_MAX_LATER_CHARACTERS = 2**24
_CHARACTERS_PER_ROW = 2**14
_REFUSED = frozenset({ErrorKind.NOT_ALLOWED, ErrorKind.MODEL_NOT_FOUND})


class KeptAnswer(Struct, frozen=True):
    """The answer that a row keeps until a longer one arrives.

    It names the answer's event, the state of events that keep it, and the hashes of the requests that it is valid for,
    which the longer answer is valid for later.
    """

    source: int
    kept_as: State
    stood_for: tuple[str, ...]


class History(NamedTuple):
    """What happened to a row's request before.

    It counts the requests sent, their known cost (USD), and the runs in which the row has failed, and holds the answer
    that the row keeps meanwhile. `was_refused`: its last attempt ended in a 403 or 404, which may stop a run. `answers`
    counts the answers that were rejected, `last_answer` is the last of them, and `objection` says what is wrong with
    it; None if it was truncated. `last_reply` is the last reply as it arrived, if the job keeps it.
    """

    attempts: int = 0
    cost: Decimal | None = None
    failed_runs: int = 0
    kept: KeptAnswer | None = None
    was_refused: bool = False
    answers: int = 0
    last_answer: str | None = None
    objection: str | None = None
    last_reply: str | None = None

    @classmethod
    def of(cls, record: Outcome) -> History:
        """Return the history from an event's record."""
        if record is NOTHING:
            return NEVER_ASKED
        kept = None
        if record.kept_as is not None:
            kept = KeptAnswer(record.source, State(record.kept_as), record.stood_for)
        was_refused = record.error_kind in _REFUSED
        answers = record.answer_attempts
        return cls(
            record.attempts,
            record.cost,
            record.failed_runs,
            kept,
            was_refused,
            answers,
            record.response if answers else None,
            record.objection,
            record.raw_reply,
        )

    def objected(self, record: Outcome, expected: Expected) -> History:
        """Return the history with the record's answer, which was valid before and is not now, as the last one."""
        objection = expected.objection(record.response, truncated=record.truncated)
        words = objection.words if objection and objection.kind is ErrorKind.INVALID_ANSWER else None
        return self._replace(answers=max(1, self.answers), last_answer=record.response, objection=words)

    def outcome(self) -> Outcome:
        """Return the history in the form of a record."""
        if self is NEVER_ASKED:
            return NOTHING
        record = Outcome(attempts=self.attempts, cost=self.cost, failed_runs=self.failed_runs)
        if self.last_reply is not None:
            record = record._replace(raw_reply=self.last_reply)
        if self.answers:
            record = record._replace(answer_attempts=self.answers, response=self.last_answer, objection=self.objection)
        if self.kept is None:
            return record
        return record._replace(source=self.kept.source, kept_as=int(self.kept.kept_as), stood_for=self.kept.stood_for)


NEVER_ASKED = History()
"""The history of a row that was never sent."""


class Busy(Struct):
    """How often a row was refused because of load, while other rows were answered and none of them was refused for
    load.

    `times` counts these in a row, the last one `at` (monotonic seconds), when `others` refusals had gone to other rows.
    """

    times: int = 0
    at: float = -math.inf
    others: int = 0
    own: int = 0


class Work(Struct):
    """A row on its way to an outcome.

    `tries` counts the attempts of this run that count against `retry.max_attempts`, `failures` all that failed.
    `first_failure` and `last_failure` are monotonic seconds.
    """

    position: int
    row_id: str
    content_key: str
    request: Request
    request_hash: str
    history: History
    settings_id: int
    cached_as: tuple[str, int] | None = None
    """The key of its answer in the job's cache, and which of the answers to that request it is."""
    tries: int = 0
    failures: int = 0
    first_failure: float | None = None
    last_failure: float | None = None
    busy: Busy | None = None
    first_request: Request | None = None
    """What the row asks for its first answer, where `request` asks for a further one."""
    excused_by: set[int] = field(default_factory=set)
    """The servers, of several, whose outage took an attempt without counting it."""
    failure: Outcome = field(default_factory=Outcome)

    def event(self, plan: int, state: State, record: Outcome) -> Event:
        """Return what happened to it under a plan."""
        identity = (self.row_id, self.request_hash, self.settings_id, self.content_key)
        return Event(plan, self.position, state, *identity, record)


def feed(
    rows: Rows,
    plan: Plan,
    journal: Journal,
    settings: Sequence[int],
    states: Collection[State] = TO_SEND,
    only: Sequence[int] | None = None,
    cached: CachedAnswers | None = None,
) -> Iterator[Work | Event]:
    """Yield every row that is to be sent, by its state; with `only`, those at these positions.

    A row that makes no request is yielded as the event of its failure. `settings` are the numbers of the settings of
    each variant. Raises InvalidInput if the input can no longer be read, or has changed.
    """
    wanted = plan.which(states)
    if only is not None:
        chosen = np.zeros_like(wanted)
        chosen[list(only)] = True
        wanted &= chosen
    for part in rows.wanted_parts(wanted):
        histories = _histories(plan, journal, part.positions, rows.expected)
        for position, row_id, content, (request, request_hash) in zip(
            part.positions, plan.row_ids(part.positions, part.ids), part.contents, part.requests(), strict=True
        ):
            asked, history = histories.get(position, ("", NEVER_ASKED))
            if history is not NEVER_ASKED and asked != request_hash and plan.state(position) is State.CHANGED:
                history = NEVER_ASKED
            number = settings[rows.variant_of(position)]
            if isinstance(request, UnsentFailure):
                record = history.outcome()._replace(error_kind=request.kind, error_message=request.message)
                yield Event(plan.number, position, State.FAILED, row_id, request_hash, number, content, record)
                continue
            work = Work(position, row_id, content, request, request_hash, history, number)
            if cached is not None:
                work.cached_as = cached.place(work, rows.cell(position)[1])
                if (taken := cached.take(work)) is not None:
                    yield work.event(plan.number, State.ANSWERED, taken)
                    continue
            yield work


def while_unchanged(
    works: Iterator[Work | Event], files: Sequence[InputFile], clock: Callable[[], float] = time.monotonic
) -> Iterator[Work | Event]:
    """Yield the same rows while the input's files are unchanged. This is checked once per second, because many rows are
    read at once and sent over a long time.

    Raises InvalidInput if a file has changed.
    """
    looked = -math.inf
    for work in works:
        if clock() - looked >= _SECONDS_BETWEEN_LOOKS:
            for file in files:
                check_unchanged(file)
            looked = clock()
        yield work


def refused_last(works: Iterator[Work | Event], has_answered: Callable[[], bool]) -> Iterator[Work | Event]:
    """Yield the same rows, but those that were refused in an earlier run, and stopped it, only after another one is
    answered.

    Otherwise one of them at the head of the input would stop every run. Without any answer they come last.
    """
    later: deque[Work] = deque()
    room = _MAX_LATER_CHARACTERS
    for work in works:
        if isinstance(work, Work) and work.history.was_refused and room > 0 and not has_answered():
            later.append(work)
            room -= _CHARACTERS_PER_ROW + sum(map(len, message_texts(work.request.messages)))
            continue
        yield work
        while later and has_answered():
            yield later.popleft()
    yield from later


def _histories(
    plan: Plan, journal: Journal, positions: list[int], expected: Expected | None
) -> dict[int, tuple[str, History]]:
    """Return the request that each row made before, by its hash, and its history.

    A row whose answer was judged again and rejected may be asked the same again; that answer is then the first.
    """
    states = [State.ATTEMPTED, State.RETRY, State.TRUNCATED]
    if expected is not None:
        states.append(State.CHANGED)
    if not plan.count(*states):
        return {}
    asked_before = {plan.event(position): position for position in positions if plan.state(position) in states}
    found: dict[int, tuple[str, History]] = {}
    for entry, record in journal.records(sorted(asked_before)):
        history = History.of(record)
        if expected is not None and entry.state in ANSWERS:
            history = history.objected(record, expected)
        found[asked_before[entry.seq]] = entry.request_hash, history
    return found
