"""The cache that a job names: opened for a run, and looked at before one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.app.jobs.paths import why_unusable
from pipeline.cache import Cache, CacheKeys, is_cache
from pipeline.config import Job
from pipeline.errors import CheckpointFailed
from pipeline.expect import Expected
from pipeline.runner import CachedAnswers


@contextmanager
def open_cache(job: Job, expected: Expected | None, warn: Callable[[str], None]) -> Iterator[CachedAnswers | None]:
    """Open a job's cache while it sends; None if it names none. Raises CheckpointFailed where it cannot be used."""
    config = job.config.cache
    if config is None:
        yield None
        return
    cache = Cache(Path(config.path), config.ttl_days, warn)
    try:
        yield CachedAnswers(cache, cache_keys(job), expected)
    finally:
        cache.close()


@contextmanager
def reading_cache(job: Job, expected: Expected | None) -> Iterator[CachedAnswers | None]:
    """Open a job's cache to look into it; None if it names none, or has none yet. Raises as `open_cache` does."""
    config = job.config.cache
    if config is None or not os.path.exists(config.path):
        yield None
        return
    cache = Cache(Path(config.path), config.ttl_days, lambda _: None, read_only=True)
    try:
        yield CachedAnswers(cache, cache_keys(job), expected)
    finally:
        cache.close()


def cache_keys(job: Job) -> CacheKeys:
    """Return what names the requests of a job in a cache."""
    endpoint = job.config.endpoint
    base = endpoint.urls[0].rstrip("/").removesuffix("/chat/completions")  # either may be written
    return CacheKeys(base if len(endpoint.urls) == 1 else None, endpoint.is_simulator)


def refuse_unusable_cache(path: Path) -> None:
    """Raise CheckpointFailed where the file at a cache's path is no cache, or cannot be read or written."""
    why = why_unusable(path)
    try:
        if why is None and path.is_file() and path.stat().st_size and not is_cache(path):
            why = f"{path} exists, and is no cache of this program"
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
    if why is not None:
        raise CheckpointFailed(f"cache.path: {why}; name another file, or move it away")
