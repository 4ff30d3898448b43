"""What a run tells those who watch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.app.jobs.job import OpenJob
    from pipeline.app.observe.summary import Summary
    from pipeline.journal import State
    from pipeline.plan import Plan
    from pipeline.runner import Progress


class Watcher:
    """Observes a run. The command line has one that shows everything; this one ignores everything."""

    def planned(self, opened: OpenJob, plan: Plan, to_send: tuple[State, ...], notes: list[str]) -> None:
        """Take note that the plan is made and nothing was sent yet. `to_send` has the status of the rows to be sent."""

    def progressed(self, progress: Progress, summary: Summary) -> None:
        """Take the figures, every half second or so while requests are in flight."""

    def warned(self, message: str) -> None:
        """Take note that something beside the run went wrong."""

    def stopping(self, in_flight: int, seconds: float) -> None:
        """Take note of a signal: the run waits for the requests in flight, for `seconds` at most."""
