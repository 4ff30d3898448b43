"""The use of a cache of answers by the rows of a job."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline.cache import Bought, Cache, CacheKeys
from pipeline.expect import Expected
from pipeline.journal import Outcome
from pipeline.records import Request

if TYPE_CHECKING:
    from pipeline.runner.feed import Work


class CachedAnswers:
    """Looks rows up before they are sent, and stores their answers. A cached answer that the job does not expect is not
    used.
    """

    def __init__(self, cache: Cache, keys: CacheKeys, expected: Expected | None) -> None:
        self._cache = cache
        self._keys = keys
        self._expected = expected

    def take(self, work: Work, sample: int) -> Outcome | None:
        """Return the outcome of a row from the cache; None if it has to be sent. The row is told where its answer
        belongs.
        """
        history = work.history
        if history.kept is not None:
            return None  # it wants a longer answer than the one it has
        key, number = self._keys.key(work.request_hash), self._keys.number(work.request, sample)
        work.cached_as = key, number
        found = self._found(key, number)
        if found is None:
            return None
        cost = found.cost if history.cost is None else history.cost
        return found._replace(attempts=history.attempts, cost=cost, failed_runs=history.failed_runs)

    def has(self, request: Request, request_hash: str, sample: int) -> bool:
        """Return whether a request would be answered so."""
        return self._found(self._keys.key(request_hash), self._keys.number(request, sample)) is not None

    def _found(self, key: str, number: int) -> Outcome | None:
        found = self._cache.find(key, number)
        if found is None or self._expected is None:
            return found
        return None if self._expected.objection(found.response, truncated=found.truncated) else found

    def keep(self, answered: Iterable[tuple[tuple[str, int], Outcome]]) -> None:
        """Store answers in the cache, each under its key there, after they are on disk."""
        self._cache.put(Bought(*place, record) for place, record in answered)
