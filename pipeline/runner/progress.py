"""How a run goes, and how it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct, field

from pipeline.endings import LimitedBy, StopKind
from pipeline.errors import SECONDS_BETWEEN_SIGNALS
from pipeline.limits import QuotaNotice, Trouble
from pipeline.plan import FailureKinds
from pipeline.records import Usage


class Stop(Struct, frozen=True):
    """Why a run ended before its rows did: a stable word and a sentence, and the signal where one came."""

    kind: StopKind
    message: str
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """Return what the command ends with."""
        return self.kind.exit + self.signal


class StopRequest:
    """What a signal handler leaves for the runner: the first signal drains, a second one stops at once.

    `clock` counts in seconds and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.signal: int | None = None
        self.at_once = False
        self._clock = clock
        self._asked_at = 0.0

    def ask(self, signal: int) -> None:
        """Take note of a signal. One that comes right after the first is the same one, sent twice."""
        if self.signal is None:
            self.signal, self._asked_at = signal, self._clock()
        elif self._clock() - self._asked_at > SECONDS_BETWEEN_SIGNALS:
            self.at_once = True

    def stop(self) -> Stop | None:
        """Return how the run ends for it; None if no signal came."""
        return None if self.signal is None else Stop(StopKind.INTERRUPTED, "stopped by a signal", self.signal)


class Progress(Struct):
    """This run so far. Tokens are those of usable usage; money is in USD."""

    requests: int = 0
    retries: int = 0
    succeeded: int = 0
    failed: int = 0
    truncated: int = 0
    empty: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """The part of the prompts' tokens that was read from a cache."""
    reasoning_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    possibly_billed_usd: Decimal = Decimal(0)
    over_reserve_usd: Decimal = Decimal(0)
    """By how much requests were billed beyond the most that was assumed of them."""
    in_flight: int = 0
    slots: int = 0
    """How many may be in flight now."""
    limited_by: LimitedBy | None = None
    """What kept more from being in flight so far, where their number is found while sending."""
    in_doubt_usd: Decimal = Decimal(0)
    """What the requests in flight may cost at most."""
    waiting: int = 0
    paused_seconds: float = 0.0
    quota: QuotaNotice | None = None
    """What the run waits for longer than usual, if it does."""
    failures: FailureKinds = field(default_factory=FailureKinds)
    """The rows that failed in this run."""
    trouble: Trouble | None = None
    """Why nothing usable comes in, where nothing does."""

    def count(self, usage: Usage) -> None:
        """Add the tokens of an attempt."""
        self.prompt_tokens += usage.prompt_tokens or 0
        self.completion_tokens += usage.completion_tokens or 0
        self.cached_tokens += usage.cached_tokens or 0
        self.reasoning_tokens += usage.reasoning_tokens or 0
