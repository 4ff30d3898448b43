"""Money: what may still be spent, with the maximum cost of everything in flight reserved."""

from __future__ import annotations

from decimal import Decimal

_MAX_DIGITS = 12


class Budget:
    """The cost caps of the whole job and of this run, in USD.

    `spent` is what the job cost so far, possible bills included; `by_run` is the part of it that this run did.
    """

    def __init__(
        self, *, job_cap: Decimal | None, run_cap: Decimal | None, spent: Decimal, by_run: Decimal = Decimal(0)
    ) -> None:
        self._spent_before = spent - by_run
        self._spent = by_run
        self._reserved = Decimal(0)
        self.set_caps(job_cap=job_cap, run_cap=run_cap)

    def set_caps(self, *, job_cap: Decimal | None, run_cap: Decimal | None) -> None:
        """Change the caps. What was spent and what is reserved stays as it is."""
        before = self._spent_before
        remaining = [cap for cap in (None if job_cap is None else job_cap - before, run_cap) if cap is not None]
        # What this run spends counts against both caps, so the smaller one stays the smaller one.
        self._is_of_run = run_cap is not None and min(remaining) == run_cap
        self._cap = run_cap if self._is_of_run else job_cap
        self._remaining = min(remaining) - self._spent if remaining else None

    def allows(self, worst: Decimal | None) -> bool:
        """Return whether a request that costs at most `worst` fits under the caps, whatever the requests in flight
        cost.

        A request without a known price never fits under a cap.
        """
        if self._remaining is None:
            return True
        return worst is not None and self._reserved + worst <= self._remaining

    def refusal(self, worst: Decimal | None) -> str:
        """Return why a request that costs at most `worst` does not fit while nothing is in flight.

        The text names the cap, its amount, and how much of it is spent.
        """
        name, whose = ("max_run_cost_usd", "by this run") if self._is_of_run else ("max_cost_usd", "by the job so far")
        spent = (self._cap or Decimal(0)) - (self._remaining or Decimal(0))
        need = "costs an unknown amount" if worst is None else f"may cost up to ${worst.normalize():f}"
        return (
            f"limits.{name} is ${_usd(self._cap or Decimal(0))}, of which ${spent.normalize():f} is spent {whose} (what"
            f" was possibly billed included), and the next request {need}"
        )

    def reserve(self, worst: Decimal | None) -> None:
        """Reserve the maximum cost of a request that is about to be sent."""
        self._reserved += worst or 0

    def settle(self, worst: Decimal | None, billed: Decimal) -> None:
        """Replace a reserved amount by the actual one. A possible bill counts with its maximum."""
        self._reserved -= worst or 0
        self._spent += billed
        if self._remaining is not None:
            self._remaining -= billed


def _usd(amount: Decimal) -> str:
    """Return an amount without an exponent, unless that would be a long row of zeros."""
    return f"{amount:f}" if -_MAX_DIGITS <= amount.adjusted() <= _MAX_DIGITS else f"{amount:.6g}"
