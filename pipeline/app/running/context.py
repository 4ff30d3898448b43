"""What the parts of a run that send have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from pipeline.app.jobs.job import OpenJob
from pipeline.app.jobs.signals import Signals
from pipeline.app.observe.expectation import Exceeded
from pipeline.app.observe.figures import Figures
from pipeline.app.observe.watcher import Watcher
from pipeline.app.running.options import RunOptions
from pipeline.journal import Event, Journal
from pipeline.runner import StopRequest


class RunContext(Struct, frozen=True):
    """The job of a run, how it is run, and who hears of it.

    Whoever sends keeps `figures` up to date and `watcher` informed. `recorded` hears of the events that are on disk,
    `exceeded` once of each measure of the run that leaves the range of its estimate.
    """

    opened: OpenJob
    options: RunOptions
    figures: Figures
    watcher: Watcher
    signals: Signals
    stop_request: StopRequest
    recorded: Callable[[Sequence[Event], Journal], None]
    exceeded: Callable[[Exceeded], None]
