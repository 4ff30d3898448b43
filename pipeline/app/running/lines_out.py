"""The lines that are out in a provider's batches, for runs that need not buy by batches."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from pipeline.app.jobs.locking import reading
from pipeline.config import Job
from pipeline.journal import Event, Journal, worst_of
from pipeline.runner import Work


def has_open_batches(job: Job) -> bool:
    """Return whether batches of a job are out. Raises JobLocked while a run is under way, and as the journal does."""
    with reading(job) as journal:
        return journal is not None and bool(journal.totals.batches)


def open_lines(journal: Journal) -> tuple[int, Decimal]:
    """Return how many lines are out in batches, and what they may cost at most, in USD."""
    claims = journal.lines_out()
    return len(claims), worst_of(claims)


def without_open_lines(works: Iterator[Work | Event], journal: Journal) -> Iterator[Work | Event]:
    """Yield the rows that are in no open batch: those are never sent one by one."""
    out = {(claim.row_id, claim.request_hash) for claim in journal.lines_out()}
    for work in works:
        if isinstance(work, Event) or (work.row_id, work.request_hash) not in out:
            yield work
