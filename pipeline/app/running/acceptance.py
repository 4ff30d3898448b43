"""Accepting failures: the rows stay failed, and count no longer as something that is left to do.

What is recorded is the row's failure once more, marked as accepted, so everything that reads failures reads these too.
Sending a row again records what comes of that, and with it the mark is gone.
"""

from __future__ import annotations

from itertools import islice

from pipeline.journal import Changes, Event, Journal, Outcome, State
from pipeline.plan import Plan

_FAILED = (State.FAILED_PASSING, State.FAILED)


def accept_failures(plan: Plan, journal: Journal, *, kind: str | None, limit: int | None) -> None:
    """Record that the user accepts the failures of all failed rows, or of those that failed with one `error_kind`; of
    at most `limit` rows, in input order. A run does not send them again by itself. Raises CheckpointFailed.
    """
    left = limit
    for positions in plan.positions(_FAILED):
        by_event = {plan.event(position): position for position in positions}
        events = [
            Event(
                plan.number,
                by_event[entry.seq],
                State.FAILED,
                entry.row_id,
                entry.request_hash,
                entry.settings_id,
                entry.content_key,
                _accepted(record),
            )
            for entry, record in journal.records(sorted(by_event))
            if kind in (None, record.error_kind) and not record.accepted
        ]
        events = list(islice(sorted(events, key=lambda event: event.position), left))
        if events:
            plan.take(journal.commit(Changes(events)), events)
        left = None if left is None else left - len(events)


def _accepted(record: Outcome) -> Outcome:
    """Return a failure's record marked as accepted. The event itself sends nothing, and is billed nothing."""
    return record._replace(billed_usd=None, possibly_billed=None, tokens=None, in_doubt=False, accepted=True)
