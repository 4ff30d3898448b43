"""What the runner needs of an engine, which takes tasks and returns attempts, and plans and records nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.client import Attempt, Task


class Engine(Protocol):
    """An executor that sends tasks concurrently. One thread calls it; a signal handler may call `wake` as well."""

    @property
    def slots(self) -> int:
        """How many tasks can be in flight. It is reduced if the system lacks resources for them."""

    @property
    def over(self) -> str | None:
        """Why nothing more can be sent, though what is in flight may still end; None while all is well."""

    def send(self, tasks: Sequence[Task]) -> None:
        """Start sending. This never waits."""

    def receive(self, timeout: float) -> list[Attempt]:
        """Return every attempt that has ended. Waits up to `timeout` seconds for the first; the list may be empty."""

    def wake(self) -> None:
        """End a wait in `receive` at once."""

    def abandon(self) -> None:
        """End all attempts at once; `receive` returns them. Nothing can be sent any more."""

    def close(self) -> None:
        """Abort what is still in flight, and release all threads and connections."""
