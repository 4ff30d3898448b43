"""Reads what servers say of their load, in a thread of its own: no request waits for it, and no fault of it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import requests

from pipeline.addresses import is_loopback
from pipeline.providers.gauges import Load, metrics_url, read_load

_SECONDS_A_LOOK = 2.0
_MOST_SECONDS = 2.0
_MOST_BYTES = 4 << 20
_MOST_FAULTS = 3


class Gauges:
    """The load of an endpoint's servers together, read every two seconds, or None where they do not tell it.

    A server that has not told it three times in a row is not asked again. Nothing but the address goes out: no key, and
    none of the job's headers.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [metrics_url(url) for url in urls]
        self._over = threading.Event()
        self._load: Load | None = None
        self._thread = threading.Thread(target=self._follow, name="gauges", daemon=True)

    def latest(self) -> Load | None:
        """Return what was read last."""
        return self._load

    @contextmanager
    def reading(self) -> Iterator[Gauges]:
        """Read while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()

    def _follow(self) -> None:
        faults = 0
        while faults < _MOST_FAULTS and not self._over.is_set():
            loads = [self._read(url) for url in self._urls]
            told = [load for load in loads if load is not None]
            if len(told) == len(loads):
                faults = 0
                self._load = Load(sum(one.running for one in told), sum(one.waiting for one in told), told[-1].at)
            else:
                faults += 1
            self._over.wait(_SECONDS_A_LOOK)

    def _read(self, url: str) -> Load | None:
        with suppress(requests.RequestException, OSError, ValueError), requests.Session() as session:
            # To this machine without a proxy, as requests to the endpoint go.
            session.trust_env = not is_loopback(urlsplit(url).hostname or "")
            with session.get(url, timeout=_MOST_SECONDS, allow_redirects=False, stream=True) as reply:
                if reply.status_code != requests.codes.ok:
                    return None
                text = reply.raw.read(_MOST_BYTES, decode_content=True)
                return read_load(text.decode("utf-8", "replace"), time.monotonic())
        return None
