"""What the runner needs of an engine: it takes tasks and gives back attempts; it plans and records nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.client import Attempt, Task


class Engine(Protocol):
    """Sends tasks side by side. One thread calls it, but for `wake`, which a signal handler may call."""

    @property
    def slots(self) -> int:
        """How many tasks can be under way; fewer than at first where the system has not enough for them."""

    def send(self, tasks: Sequence[Task]) -> None:
        """Start sending; never waits."""

    def receive(self, timeout: float) -> list[Attempt]:
        """Every attempt that has ended; waits up to `timeout` seconds for the first. May come back empty."""

    def wake(self) -> None:
        """End a wait in `receive` at once."""

    def close(self) -> None:
        """Cut off what is still under way and let go of all threads and connections."""
