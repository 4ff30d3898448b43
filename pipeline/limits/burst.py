"""Requests that are let in at one moment, and so are sent at one moment."""

from __future__ import annotations

import threading

_UNTIL_READY_SECONDS = 0.25
_UNTIL_SENT_SECONDS = 0.05


class Meeting:
    """A point that each of `size` requests reaches, at which they wait for each other. Safe from many threads.

    Whoever has waited for `seconds` goes on, and all others with it: one slow connection holds back none for longer.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self._missing = size
        self._seconds = seconds
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def arrive(self) -> None:
        """Count one request as one that is here, or that will never be."""
        with self._lock:
            self._missing -= 1
            if self._missing <= 0:
                self._is_over.set()

    def wait(self) -> None:
        """Arrive, and wait for the others."""
        self.arrive()
        if not self._is_over.wait(self._seconds):
            self._is_over.set()


def burst(size: int) -> tuple[Meeting, Meeting]:
    """Return where so many requests meet: with their connections made, and with all of them sent.

    A Retry-After holds back whatever has not been sent when it is read. If the first request of a burst were refused
    while others still connect, these would go out after that pause, and be asked for a pause of their own.
    """
    return Meeting(size, _UNTIL_READY_SECONDS), Meeting(size, _UNTIL_SENT_SECONDS)
