"""What a command may ask of a run, and which failed rows that makes it send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import TRUNCATED
from pipeline.journal import Journal, State
from pipeline.plan import TO_SEND, Plan


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a command may ask of a run. `retry` sends nothing but failed rows, whatever their cause: all of them, or
    those of one kind; of the kind `truncated` it asks for longer answers instead. With `accept` these failures are
    accepted, and nothing is sent. `limit` is the most rows to send: first in input order, or with `seed` drawn at
    random.
    """

    limit: int | None = None
    seed: int | None = None
    on_change: Literal["refuse", "rerun", "keep"] = "refuse"
    retry: bool = False
    retry_kind: str | None = None
    accept: bool = False

    @property
    def asks_longer(self) -> bool:
        """Whether it asks again for answers that were cut off."""
        return self.retry and self.retry_kind == TRUNCATED

    @property
    def to_send(self) -> tuple[State, ...]:
        """Where the rows stand that the run sends."""
        if self.asks_longer:
            return (State.TRUNCATED,)
        return (State.RETRY,) if self.retry else TO_SEND


def select_retries(plan: Plan, journal: Journal, max_runs: int, options: RunOptions) -> None:
    """Mark the failed rows that a run sends again: those that failed for a passing cause, up to `max_runs` times, or
    whatever `options` asks for.
    """
    if options.asks_longer:
        return
    states = (State.FAILED_PASSING, State.FAILED) if options.retry else (State.FAILED_PASSING,)
    for positions in plan.positions(states):
        by_event = {plan.event(position): position for position in positions}
        for entry, record in journal.records(sorted(by_event)):
            if options.retry:
                wanted = options.retry_kind in (None, record.error_kind)
            else:
                wanted = record.failed_runs <= max_runs
            if wanted:
                plan.mark(by_event[entry.seq], State.RETRY)
