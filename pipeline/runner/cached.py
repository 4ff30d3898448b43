"""The use of a cache of answers by the rows of a job."""

from __future__ import annotations

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

    def place(self, work: Work, sample: int) -> tuple[str, int] | None:
        """Return where the answer of a row belongs; None if it wants a longer answer than the one that it has."""
        if work.history.kept is not None:
            return None
        return self._keys.key(work.request_hash), self._keys.number(work.request, sample)

    def take(self, work: Work) -> Outcome | None:
        """Return the outcome of a row from the cache; None if it has to be sent."""
        found = None if work.cached_as is None else self._found(*work.cached_as)
        if found is None:
            return None
        history = work.history
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

    def keep(self, place: tuple[str, int], answer: Outcome) -> None:
        """Have the next rows find an answer that was bought."""
        self._cache.put(Bought(*place, answer))

    def write(self) -> None:
        """Store the answers in the cache, after they are on disk."""
        self._cache.write()
