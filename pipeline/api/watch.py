"""A run's progress as log records and, where it is asked for, as a bar on stderr."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.app.observe.summary import Summary
from pipeline.app.observe.watcher import Watcher
from pipeline.wording import money

if TYPE_CHECKING:
    from pipeline.app.jobs.job import OpenJob
    from pipeline.journal import State
    from pipeline.plan import Plan
    from pipeline.runner import Progress

logger = logging.getLogger("pipeline")
logger.addHandler(logging.NullHandler())  # without any handler, Python would print warnings

_SECONDS_A_RECORD = 5.0


class LogWatcher(Watcher):
    """Logs a run under the name `pipeline`, and moves a bar where there is one. Prompts and answers are not logged."""

    def __init__(self, bar: Any = None) -> None:
        self._bar = bar
        self._logged_at = time.monotonic()

    def planned(self, opened: OpenJob, plan: Plan, to_send: tuple[State, ...], notes: list[str]) -> None:
        """Log the plan before anything is sent."""
        counts = plan.counts()
        for note in notes:
            logger.warning("%s", note)
        logger.info(
            "%s: %d rows: %d done, %d new, %d changed, %d to retry",
            opened.job.config.name,
            counts.total,
            counts.done,
            counts.new,
            counts.changed,
            counts.to_retry,
        )
        if self._bar is not None:
            self._bar.reset(total=plan.count(*to_send))

    def progressed(self, progress: Progress, summary: Summary) -> None:
        """Log how far the run is, every few seconds."""
        if self._bar is not None:
            self._bar.n = progress.succeeded + progress.failed
            self._bar.set_postfix_str(f"${money(progress.cost_usd)}", refresh=True)
        now = time.monotonic()
        if now - self._logged_at >= _SECONDS_A_RECORD:
            self._logged_at = now
            logger.info(
                "%s: %d succeeded and %d failed in this run, $%s",
                summary.job,
                progress.succeeded,
                progress.failed,
                money(progress.cost_usd),
            )

    def warned(self, message: str) -> None:
        """Log what went wrong beside the run."""
        logger.warning("%s", message)


@contextmanager
def watching(*, progress: bool) -> Iterator[LogWatcher]:
    """Watch a run; with `progress` a bar is shown on stderr."""
    if not progress:
        yield LogWatcher()
        return
    from tqdm import tqdm

    with tqdm(unit="row") as bar:
        yield LogWatcher(bar)
