"""Answers that many jobs have in common, in a file that many runs may use at once."""

from pipeline.cache.keys import CacheKeys
from pipeline.cache.store import FROM_CACHE, Bought, Cache, is_cache

__all__ = ["FROM_CACHE", "Bought", "Cache", "CacheKeys", "is_cache"]
