"""Orders to a run under way, from both ends: the command that gives them, and the run that follows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from pipeline.app.jobs.recent_sends import sent_lately
from pipeline.app.observe.status import status
from pipeline.config import Job, LimitsConfig
from pipeline.errors import CheckpointFailed, InvalidInput
from pipeline.journal import Journal
from pipeline.journal.orders import Order, Reply, put_order, put_reply, read_reply, take_order

SETTABLE = (
    "concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "max_cost_usd",
    "max_run_cost_usd",
    "deadline_seconds",
    "drain_seconds",
)
"""Keys of `limits` that can be set while a run is under way."""
_RATES = ("requests_per_minute", "tokens_per_minute")
_NONE = "null"
_SECONDS_A_LOOK = 0.05
_SECONDS_A_LOOK_OF_A_RUN = 0.25
_MOST_SECONDS = 10.0


class Controllable(Protocol):
    """What the orders act on: a `Runner`, or `Orders` where a run buys by batches."""

    def hold(self, on: bool) -> None:
        """Send nothing new while it is on."""

    def change_limits(self, limits: LimitsConfig, sent: Iterable[tuple[float, float]]) -> None:
        """Use other limits from now on; `sent` is what counts against a new rate. Raises InvalidInput where it cannot
        use them now.
        """


def order(job: Job, action: str, key: str = "") -> str:
    """Give an order to the run of a job that is under way, and wait for its reply, which is returned.

    Args:
        action: `pause`, `resume` or `set`.
        key: the key of the job file to `set`; its value is the one that `job` has.

    Raises:
        InvalidInput: no run is under way, or it refuses.
        CheckpointFailed: the order cannot be written.
    """
    directory = job.checkpoint_path
    _refuse_without_run(job)
    value = getattr(job.config.limits, key.removeprefix("limits.")) if key else ""
    sent = Order(action, key, _NONE if value is None else f"{value:g}" if isinstance(value, float) else str(value))
    give_up = time.monotonic() + _MOST_SECONDS
    token = None
    while time.monotonic() < give_up:
        try:
            token = token or put_order(directory, sent)
        except OSError as error:
            raise CheckpointFailed(f"{directory}: the order cannot be written: {error.strerror}") from error
        if token is not None and (reply := read_reply(directory, token)) is not None:
            if reply.is_refused:
                raise InvalidInput(reply.text)
            return reply.text
        time.sleep(_SECONDS_A_LOOK)
    _refuse_without_run(job)
    if token is None:
        raise InvalidInput("another order waits for this run; try again once it is followed")
    return "the run has not begun to send; it follows the order once it does"


def settable_key(key: str) -> str:
    """Return the name within `limits` of a key that can be set on a run under way.

    Raises:
        InvalidInput: it is another key.
    """
    section, _, name = key.partition(".")
    if section != "limits" or name not in SETTABLE:
        raise InvalidInput(
            f"{key} cannot be set while a run is under way, only limits.{', limits.'.join(SETTABLE)}; for any other key"
            " stop the run and begin it again with --set"
        )
    return name


class Controls:
    """Follows the orders that come in while a run sends, and records them. Call `poll` with the time now and then."""

    def __init__(self, directory: Path, limits: LimitsConfig, journal: Callable[[], Journal], run_id: str) -> None:
        self._directory = directory
        self.limits = limits
        """Those that hold now."""
        self._journal = journal
        self._run_id = run_id
        self._next_look = 0.0
        self.is_paused = False
        self.changed: dict[str, str] = {}
        """What was set, by key: the new value as text."""

    def facts(self) -> dict[str, object]:
        """Return what `status` shows of it."""
        return {"paused": self.is_paused, "set": dict(self.changed)}

    def poll(self, now: float, run: Controllable) -> None:
        """Follow the next order, if there is one. `now` is in monotonic seconds."""
        if now < self._next_look:
            return
        self._next_look = now + _SECONDS_A_LOOK_OF_A_RUN
        if (found := take_order(self._directory)) is None:
            return
        token, given = found
        reply = self._follow(given, run)
        if not reply.is_refused:
            self._journal().note_order(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {self._run_id} {reply.text}")
        put_reply(self._directory, token, reply)

    def _follow(self, given: Order, run: Controllable) -> Reply:
        if given.action in ("pause", "resume"):
            self.is_paused = given.action == "pause"
            run.hold(self.is_paused)
            return Reply("paused: nothing new is sent" if self.is_paused else "resumed")
        try:
            name = settable_key(given.key)
            limits = _with(self.limits, name, given.value)
            if limits.shared is not None and name in _RATES:
                raise InvalidInput(
                    f"{given.key} is shared with other jobs by limits.shared; stop them all to change it"
                )
            run.change_limits(limits, sent_lately(self._journal(), limits, time.time()) if name in _RATES else ())
        except (InvalidInput, ValidationError, ArithmeticError, ValueError) as error:
            return Reply(str(error), is_refused=True)
        self.limits = limits
        self.changed[given.key] = given.value
        value = "not set" if given.value == _NONE else given.value
        return Reply(f"{given.key} is {value} for the rest of this run")


def _with(limits: LimitsConfig, name: str, text: str) -> LimitsConfig:
    return LimitsConfig.model_validate({**limits.model_dump(), name: None if text == _NONE else _value(name, text)})


def _value(name: str, text: str) -> int | float | Decimal | str:
    if name == "concurrency":
        return text if text == "auto" else int(text)
    return Decimal(text) if name.endswith("_usd") else float(text)


def _refuse_without_run(job: Job) -> None:
    if not status(job).is_running:
        raise InvalidInput(f"no run of {job.config.name!r} is under way; start one: {job.command('run')}")
