"""The pause that the endpoint asked an earlier run for, as a later one begins."""

from __future__ import annotations

import time

from pipeline.config import JobConfig
from pipeline.endings import StopKind
from pipeline.journal import Journal
from pipeline.limits import Pause
from pipeline.runner import Stop
from pipeline.wording import lasting


def longest_pause(config: JobConfig) -> float:
    """Return the most seconds that a run waits because the endpoint asks for it."""
    return max(config.retry.max_elapsed_seconds, config.limits.wait_for_quota_seconds)


def resume_pause(pause: Pause, config: JobConfig, journal: Journal, now: float) -> Stop | None:
    """Keep the endpoint's Retry-After of an earlier run, or return a stop where it is too long for this one. `now` is
    in Unix seconds.
    """
    for number, url in enumerate(config.endpoint.urls):  # a single one may have been one of several
        pause.extend(time.monotonic() + journal.totals.server_pause_left(url, now), number)
    left = max(journal.totals.pause_left(now), pause.until - time.monotonic())
    if left > longest_pause(config):
        longer = " and limits.wait_for_quota_seconds allow" if config.limits.wait_for_quota_seconds else ""
        return Stop(
            StopKind.RETRY_AFTER,
            f"the endpoint asked for a pause with {lasting(left)} left, longer than retry.max_elapsed_seconds{longer}",
        )
    pause.extend(time.monotonic() + left)
    return None
