"""What the parts of a run have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from pipeline.app.jobs.job import OpenJob
from pipeline.app.jobs.signals import Signals
from pipeline.app.observe.expectation import Exceeded
from pipeline.app.observe.figures import Figures
from pipeline.app.observe.monitoring import Monitoring
from pipeline.app.observe.watcher import Watcher
from pipeline.app.running.backups import Backups
from pipeline.app.running.options import RunOptions
from pipeline.journal import Event, Journal
from pipeline.runner import StopRequest

if TYPE_CHECKING:
    from pipeline.engines.remote.engine import Placement


class RunContext(Struct, frozen=True):
    """The job of a run, how it is run, and who hears of it.

    Whoever sends keeps `figures` up to date and `watcher` informed. `backups` keep copies of the journal, if the job
    asks for them; `placement` places the senders, if they are elsewhere.
    """

    opened: OpenJob
    options: RunOptions
    figures: Figures
    watcher: Watcher
    signals: Signals
    stop_request: StopRequest
    monitoring: Monitoring
    backups: Backups | None
    placement: Placement | None

    def recorded(self, events: Sequence[Event], journal: Journal) -> None:
        """Tell of the events that are on disk."""
        self.monitoring.recorded(events, journal)
        if self.backups is not None and events:
            self.backups.recorded()

    def exceeded(self, exceeded: Exceeded) -> None:
        """Tell once of each measure of the run that leaves the range of its estimate."""
        self.watcher.warned(exceeded.text)
        self.monitoring.exceeded(self.figures.summary, exceeded)
