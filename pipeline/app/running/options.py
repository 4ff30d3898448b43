"""What a command may ask of a run, and which failed rows that makes it send."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pipeline.errors import NOT_HELD, TRUNCATED
from pipeline.expect import Expected
from pipeline.journal import Journal, State
from pipeline.plan import TO_SEND, Plan
from pipeline.records import JsonObject


class RunOptions(Struct, frozen=True):
    """What a command may ask of a run.

    `retry` sends nothing but failed rows, whatever their cause: all of them, or those of one kind; of the kind
    `truncated` it asks for longer answers instead. With `accept` these failures are accepted, and nothing is sent. With
    `no_wait` the run does not wait for batches that are out; with `cancel` it sends nothing and has them canceled.
    `limit` is the most rows to send: first in input order, or with `seed` drawn at random. `address` is that of the Ray
    cluster to send from, where `engine` says so.
    """

    limit: int | None = None
    seed: int | None = None
    on_change: Literal["refuse", "rerun", "keep"] = "refuse"
    retry: bool = False
    retry_kind: str | None = None
    accept: bool = False
    no_wait: bool = False
    cancel: bool = False
    engine: Literal["local", "ray"] = "local"
    address: str | None = None

    @property
    def asks_longer(self) -> bool:
        """Whether it requests longer answers for truncated ones."""
        return self.retry and self.retry_kind == TRUNCATED

    @property
    def to_send(self) -> tuple[State, ...]:
        """The states of the rows that the run sends."""
        if self.asks_longer:
            return (State.TRUNCATED,)
        return (State.RETRY,) if self.retry else TO_SEND


def select_retries(
    plan: Plan, journal: Journal, max_runs: int, options: RunOptions, expected: Expected | None = None
) -> None:
    """Mark the failed rows that a run sends again: those that failed for a passing cause, up to `max_runs` times, or
    whatever `options` asks for; and those none of whose answers held, where something else is `expected` of them now.
    """
    if options.asks_longer:
        return
    now = _expected(None if expected is None else expected.facts)
    # After a recovery it may be unknown what was expected of an answer; such a row stays failed.
    before = ((number, known.get("expect")) for number, known in journal.settings().items())
    others = {number for number, facts in before if facts and _expected(facts) != now}
    looks_at_all = options.retry or bool(others)
    states = (State.FAILED_PASSING, State.FAILED) if looks_at_all else (State.FAILED_PASSING,)
    for positions in plan.positions(states):
        by_event = {plan.event(position): position for position in positions}
        for entry, record in journal.records(sorted(by_event)):
            if options.retry:
                wanted = options.retry_kind in (None, record.error_kind)
            else:
                is_passing = entry.state == State.FAILED_PASSING and record.failed_runs <= max_runs
                wanted = is_passing or (entry.settings_id in others and record.error_kind in NOT_HELD)
            if wanted:
                plan.mark(by_event[entry.seq], State.RETRY)


def _expected(facts: JsonObject | None) -> JsonObject:
    """Return what is expected apart from how it is told, which is part of the request and may differ by model."""
    return {name: value for name, value in (facts or {}).items() if name != "send"}
