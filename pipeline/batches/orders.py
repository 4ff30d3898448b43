"""What `pipeline control` changes of a run that buys by batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from pipeline.config import LimitsConfig
from pipeline.errors import InvalidInput
from pipeline.runner.admission import Admission

_FOLLOWED = ("max_cost_usd", "max_run_cost_usd", "deadline_seconds")


class Orders:
    """The orders that hold: whether nothing new is sent (`is_held`), the caps, and the `deadline` on `clock`.

    `limits` are those from the start on, and count from `started`.
    """

    def __init__(
        self,
        limits: LimitsConfig,
        admission: Admission,
        *,
        started: float,
        is_held: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._admission = admission
        self._started = started
        self._clock = clock
        self.is_held = is_held
        self._are_new = False

    @property
    def deadline(self) -> float:
        """When the run ends at the latest."""
        seconds = self._limits.deadline_seconds
        return math.inf if seconds is None else self._started + seconds

    def hold(self, on: bool) -> None:
        """Make no further batch while it is on; those that are out are collected all the same."""
        self.is_held = on
        self._are_new = True

    def change_limits(self, limits: LimitsConfig, sent: Iterable[tuple[float, float]]) -> None:
        """Use other caps and another deadline from now on. Raises InvalidInput for a limit that no batch has."""
        changed = {name for name in LimitsConfig.model_fields if getattr(limits, name) != getattr(self._limits, name)}
        if others := changed.difference(_FOLLOWED):
            raise InvalidInput(
                f"limits.{min(others)} is for requests that are sent one by one, and this run waits for batches; what"
                f" can be set now: limits.{', limits.'.join(_FOLLOWED)}"
            )
        self._limits = limits
        self._admission.change_caps(limits)
        self._are_new = True

    def take_news(self) -> bool:
        """Return whether an order was followed since the last time that this was asked."""
        news, self._are_new = self._are_new, False
        return news
