"""How a run goes, and how it is stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from pipeline.limits import Trouble
from pipeline.plan import FailureKinds


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ended before its rows did: the exit code, a stable word, and a sentence."""

    exit_code: int
    kind: str
    message: str


class StopRequest:
    """What a signal handler leaves for the runner: the first signal drains, a second one stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.at_once = False

    def ask(self, signal: int) -> None:
        """Take note of a signal."""
        self.at_once = self.signal is not None
        self.signal = self.signal or signal

    def stop(self) -> Stop | None:
        """How the run ends for it; None where no signal came."""
        return None if self.signal is None else Stop(128 + self.signal, "interrupted", "stopped by a signal")


@dataclass(slots=True)
class Progress:
    """This run so far. Tokens are those of usable usage; money is in USD."""

    requests: int = 0
    retries: int = 0
    succeeded: int = 0
    failed: int = 0
    truncated: int = 0
    empty: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    possibly_billed_usd: Decimal = Decimal(0)
    in_flight: int = 0
    waiting: int = 0
    paused_seconds: float = 0.0
    failures: FailureKinds = field(default_factory=FailureKinds)
    """The rows that failed in this run."""
    trouble: Trouble | None = None
    """Why nothing usable comes in, where nothing does."""
