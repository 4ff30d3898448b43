"""The durable record of what was asked, answered and billed. See `Journal`."""

from pipeline.journal.count import sync_path
from pipeline.journal.events import ADOPTIONS, ANSWERS, FAILURES, Claim, Event, IndexEntry, State, lost_claims
from pipeline.journal.lock import JobLock
from pipeline.journal.progress import read_progress, write_progress
from pipeline.journal.store import Journal, Totals

__all__ = [
    "ADOPTIONS", "ANSWERS", "FAILURES", "Claim", "Event", "IndexEntry", "JobLock", "Journal", "State", "Totals",
    "lost_claims", "read_progress", "sync_path", "write_progress",
]  # fmt: skip
