"""What a run is made of: its rows, the job's rules, where requests go, who hears of it, and the clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from pipeline.catalogue import Terms
from pipeline.config.models import LimitsConfig, RetryConfig
from pipeline.journal import Event, Journal
from pipeline.limits import Pause, Servers
from pipeline.plan import Plan
from pipeline.providers.gauges import Load
from pipeline.runner.asking import Asking
from pipeline.runner.cached import CachedAnswers
from pipeline.runner.engine import Engine
from pipeline.runner.feed import Work
from pipeline.runner.progress import Progress

if TYPE_CHECKING:
    from pipeline.limits.shared import SharedLimit
    from pipeline.runner.runner import Runner


class Workload(Struct, frozen=True):
    """The rows of a run, in the order in which they are sent, and where their outcomes are recorded.

    `limit` is the maximum number of rows to send; None for all. `cached` keeps the answers for other jobs, if the job
    has a cache. `progress` is what the run has done before.
    """

    feed: Iterator[Work | Event]
    plan: Plan
    journal: Journal
    limit: int | None = None
    cached: CachedAnswers | None = None
    progress: Progress | None = None


class Rules(Struct, frozen=True):
    """What the job says of sending.

    `terms` are what is known of each model that is asked. `asking` judges the answers, if the job says what they have
    to be.
    """

    limits: LimitsConfig
    retry: RetryConfig
    terms: Mapping[str, Terms]
    asking: Asking | None = None


def _no_load() -> Load | None:
    return None


class Destination(Struct, frozen=True):
    """Where requests go: an engine, and what holds for the endpoint behind it.

    `shared` is the limit that this job has in common with others. `servers` are the equal servers behind the job's
    queue, if there are several; `pause` has one for each. `load` returns what they last said about their load.
    """

    engine: Engine
    pause: Pause
    servers: Servers | None = None
    shared: SharedLimit | None = None
    load: Callable[[], Load | None] = _no_load


def _ignore(*heard: object) -> None:
    """Do nothing about it."""


class Observers(Struct, frozen=True):
    """Who hears of a run.

    `recorded` is called with the events of each commit, once they are on disk; `progressed` about every half second,
    and at the end; `poll` in every iteration with the time, and may call `hold` and `change_limits`.
    """

    recorded: Callable[[Sequence[Event]], None] = _ignore
    progressed: Callable[[Progress], None] = _ignore
    poll: Callable[[float, Runner], None] = _ignore


class Clocks(Struct, frozen=True):
    """A clock in seconds that never goes back, and one in Unix seconds."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
