"""Equal servers behind one queue: which one gets the next request, and which ones get none for a while."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from pipeline.limits.pause import Pause

_FIRST_PROBE_SECONDS = 1.0
_MAX_PROBE_SECONDS = 30.0
_WEIGHT = 0.1
"""That of the last answer in what is known of a server's latency."""
_DEVIATIONS = 2
"""Few answers take longer than the mean and so many mean deviations."""


class _Server(Struct):
    name: str
    in_flight: int = 0
    last_sent: int = 0
    has_answered: bool = False
    is_removed: bool = False
    probes: int = 0
    """Probes since it is out, the one to come included; 0 while it is up."""
    probe_at: float = 0.0
    is_probed: bool = False
    latency: float = 0.0
    """The mean of its last answers, in seconds; 0 before the first."""
    deviation: float = 0.0
    """By how many seconds they differ from it in the mean."""

    @property
    def is_up(self) -> bool:
        return not self.is_removed and not self.probes

    @property
    def per_second(self) -> float:
        """How many requests it answers in a second: all that it has in flight within its latency, at least one."""
        return (self.in_flight or 1) / self.latency

    @property
    def long_latency(self) -> float:
        """How long nearly all of its answers take at most, in seconds."""
        return self.latency + _DEVIATIONS * self.deviation


class Servers:
    """The servers of a job, identified by their number. Times are monotonic seconds.

    A request goes to the server with the fewest in flight. Only the last ones pass over a slow server, because the run
    would have to wait for it alone. A server that fails as in an outage is down: it gets a single probe after 1 s, 2 s,
    4 s and so on up to every 30 s, and is up again with the first answer. A pause applies to the server that asked for
    it. `warn` is called when a server is removed for good.
    """

    def __init__(self, names: Sequence[str], pause: Pause, warn: Callable[[str], None] = lambda message: None) -> None:
        self._servers = [_Server(name) for name in names]
        self._pause = pause
        self._warn = warn
        self._sent = 0

    def name(self, number: int) -> str:
        """Return the server's address."""
        return self._servers[number].name

    def choose(self, now: float, unsent: float = math.inf) -> int | None:
        """Return the server for the next of `unsent` requests; None if none accepts one now."""
        open_now = [
            (not server.probes, server.in_flight, server.last_sent, number)
            for number, server in enumerate(self._servers)
            if self._opens_at(number) <= now
        ]
        numbers = [number for *_, number in sorted(open_now)]
        in_time = (number for number in numbers if not self._ends_last(number, numbers, unsent))
        return next(in_time, numbers[0]) if numbers else None

    def opens_at(self) -> float:
        """Return when the first server accepts a request; infinity if a request has to end first."""
        return min(map(self._opens_at, range(len(self._servers))))

    def sent(self, number: int) -> bool:
        """Count a request to a server. Returns whether it is a probe."""
        server = self._servers[number]
        self._sent += 1
        server.in_flight += 1
        server.last_sent = self._sent
        server.is_probed = bool(server.probes)
        return server.is_probed

    def ended(self, number: int, *, is_probe: bool) -> None:
        """Count a request to a server as over, whatever its result."""
        self._servers[number].in_flight -= 1
        if is_probe:
            self._servers[number].is_probed = False

    def works(self, number: int, *, has_answered: bool) -> None:
        """Record that a server processed a request."""
        server = self._servers[number]
        server.probes = 0
        server.has_answered = server.has_answered or has_answered

    def took(self, number: int, latency: float) -> None:
        """Learn from an answer that took a server so many seconds."""
        server = self._servers[number]
        weight = _WEIGHT if server.latency else 1.0
        difference = latency - (server.latency or latency)
        server.deviation += weight * (abs(difference) - server.deviation)
        server.latency += weight * (latency - server.latency)

    def is_out(self, number: int, now: float, *, is_probe: bool) -> None:
        """Record that a server failed as one does that is down."""
        server = self._servers[number]
        if server.probes and not is_probe:  # it was in flight when the server went down, and says nothing new
            return
        server.probes += 1
        server.probe_at = now + min(_FIRST_PROBE_SECONDS * 2.0 ** min(server.probes - 1, 10), _MAX_PROBE_SECONDS)

    def refuses(self, number: int, message: str) -> bool:
        """Record that a server refused the job's model or key, for which a single row may be the cause.

        Returns whether the server is removed for that: it has never answered.
        """
        server = self._servers[number]
        if server.has_answered:
            return False
        if not server.is_removed:
            server.is_removed = True
            self._warn(f"{server.name} is left out of this run: {message}")
        return True

    @property
    def is_any_up(self) -> bool:
        """Whether any server is neither down nor removed."""
        return any(server.is_up for server in self._servers)

    @property
    def is_any_left(self) -> bool:
        """Whether any server is not removed."""
        return not all(server.is_removed for server in self._servers)

    def _opens_at(self, number: int) -> float:
        server = self._servers[number]
        if server.is_removed or (server.probes and server.is_probed):
            return math.inf
        return max(self._pause.of(number), server.probe_at if server.probes else 0.0)

    def _ends_last(self, number: int, open_now: Sequence[int], unsent: float) -> bool:
        """Return whether a request to this server would be answered after the other open ones, without it, had answered
        all that is unsent.
        """
        others = [self._servers[other] for other in open_now if other != number]
        known = [other for other in others if other.latency and not other.probes]
        per_second = sum(other.per_second for other in known)
        to_the_end = sum(other.per_second * other.long_latency for other in known)
        return self._servers[number].long_latency * per_second > unsent + to_the_end
