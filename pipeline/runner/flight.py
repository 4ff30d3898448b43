"""The requests in flight: what is known of each while it is with the engine."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from pipeline.client import Task
from pipeline.journal import Claim
from pipeline.runner.admission import Reservation
from pipeline.runner.feed import Work


class Flight(Struct):
    """A request in flight: its row, the claim that is on disk, and what it holds of rates and money.

    `answers_before` is how many rows of the run had an answer when it went out. `server` is the number of its server,
    and `is_probe` whether the request only tests that server.
    """

    work: Work
    claim: Claim
    reserved: Reservation
    answers_before: int
    server: int = 0
    is_probe: bool = False

    def task(self, *, fresh: bool) -> Task:
        """Return what an engine sends for it; `fresh` asks for a new connection."""
        fresh = fresh or self.is_probe
        return Task(self.claim.number, self.work.request, self.reserved.send_by, fresh, server=self.server)


def worst_usd(flights: Iterable[Flight]) -> Decimal:
    """Return what the requests may cost at most together, in USD, as far as prices are known."""
    return sum((flight.reserved.worst or Decimal(0) for flight in flights), Decimal(0))
