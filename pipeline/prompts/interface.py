"""What makes the requests of a job."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pipeline.prompts.trial import Trial
from pipeline.records import Request, Row

RENDER_SECONDS = 5.0
"""The longest that one rendering of a template may take."""


class Builder(Protocol):
    """Makes the requests of a job. Safe from many threads."""

    @property
    def columns(self) -> frozenset[str]:
        """The input columns that it uses."""

    def request(self, row: Row, seconds: float = RENDER_SECONDS) -> Request:
        """Return the request of one row, which needs to hold `columns` only; each of its templates may take `seconds`.

        Raises PromptFailure; nothing is sent then.
        """

    def sampled(self, request: Request, sample: int) -> Request:
        """Return the request of sample number `sample` of the same row: where it has a seed, with seed + sample."""

    def trial(
        self,
        rows: Iterable[Row],
        seconds: float = RENDER_SECONDS,
        total_seconds: float | None = None,
        most_tokens: float | None = None,
    ) -> Trial:
        """Make the requests of some rows and send none, as `try_rows` does. `total_seconds` is `seconds` by default."""
