"""Money: what may still be spent, with the worst case of everything in flight reserved."""

from __future__ import annotations

from decimal import Decimal


class Budget:
    """The caps over the whole job and over this run, in USD. `spent` is what the job cost before this run, what was
    possibly billed included.
    """

    def __init__(self, *, job_cap: Decimal | None, run_cap: Decimal | None, spent: Decimal) -> None:
        remaining = [cap for cap in (None if job_cap is None else job_cap - spent, run_cap) if cap is not None]
        self._remaining = min(remaining) if remaining else None
        self._reserved = Decimal(0)

    def allows(self, worst: Decimal | None) -> bool:
        """Whether a request that costs at most `worst` fits under the caps, whatever is in flight may cost.

        A request without a known price never fits under a cap.
        """
        if self._remaining is None:
            return True
        return worst is not None and self._reserved + worst <= self._remaining

    def reserve(self, worst: Decimal | None) -> None:
        """Set aside the worst case of a request that is about to be sent."""
        self._reserved += worst or 0

    def settle(self, worst: Decimal | None, billed: Decimal) -> None:
        """Replace what was reserved by what it came to, possible bills at their worst case included."""
        self._reserved -= worst or 0
        if self._remaining is not None:
            self._remaining -= billed
