"""The durable record of what was asked, answered and billed. See `Journal`."""

from pipeline.journal.changes import Changes
from pipeline.journal.database import refuse_newer
from pipeline.journal.events import (
    ADOPTIONS,
    ANSWERS,
    FAILURES,
    Claim,
    Event,
    EventHead,
    State,
    lost_claims,
    worst_of,
)
from pipeline.journal.lock import Holder, JobLock, read_holder
from pipeline.journal.outcome import NOTHING, Outcome
from pipeline.journal.progress import read_progress, write_progress
from pipeline.journal.recovery import replacement
from pipeline.journal.recovery.rebuild import Published, Recovered, rebuild
from pipeline.journal.recovery.salvage import salvaged
from pipeline.journal.store import Journal
from pipeline.journal.totals import Identity, Totals, plus

__all__ = [
    "ADOPTIONS",
    "ANSWERS",
    "FAILURES",
    "NOTHING",
    "Changes",
    "Claim",
    "Event",
    "EventHead",
    "Holder",
    "Identity",
    "JobLock",
    "Journal",
    "Outcome",
    "Published",
    "Recovered",
    "State",
    "Totals",
    "lost_claims",
    "plus",
    "read_holder",
    "read_progress",
    "rebuild",
    "refuse_newer",
    "replacement",
    "salvaged",
    "worst_of",
    "write_progress",
]
