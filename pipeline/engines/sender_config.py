"""The configuration of a sender, in whichever process it runs."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.client import Client
from pipeline.limits import Pause
from pipeline.providers import Endpoint
from pipeline.redaction import Redaction
from pipeline.transport import Loop, Transport

_SPARE_FILES = 16
"""Descriptors left for what is not a connection, such as a module that is imported late."""
_DESCRIPTORS = "/proc/self/fd"


def free_files() -> int:
    """Return how many connections this process may open within its limit on open files, at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    used = len(os.listdir(_DESCRIPTORS)) if os.path.isdir(_DESCRIPTORS) else 0
    return max(1, soft - used - _SPARE_FILES)


@dataclass(frozen=True, slots=True)
class SenderConfig:
    """Where and how requests are sent.

    At most `slots` are in flight. An attempt ends after `timeout_seconds`, or `idle_seconds` without a byte. `headers`
    may contain the key and the values of the job's fixed headers; `key` and `header_values` name them so that they are
    removed from replies. `standard` chooses the standard transport. Proxy and certificates come from the environment.
    """

    endpoint: Endpoint
    headers: Mapping[str, str] = field(repr=False)
    key: str | None = field(repr=False)
    slots: int
    timeout_seconds: float
    standard: bool = False
    header_values: tuple[str, ...] = field(default=(), repr=False)
    idle_seconds: float = math.inf
    other_urls: tuple[str, ...] = ()
    """The addresses of further servers, equal to the endpoint's."""
    by_model: Mapping[str, Endpoint] = field(default_factory=dict)
    """The endpoint for each model of a sweep whose replies are parsed differently: reasoning may be in the text."""
    keeps_replies: bool = False
    """Whether each attempt includes its raw reply."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key and the values of fixed headers."""
        return self.header_values if self.key is None else (self.key, *self.header_values)

    def client(self, pause: Pause) -> Client:
        """Make a client for this process, with no more slots than it may open files. This does not connect.

        Raises InvalidInput if the URL, a header, the proxy or the certificates cannot be used.
        """
        first = self._transport(self.endpoint.url)
        others = [self._transport(url, first.loop) for url in self.other_urls]
        redaction = Redaction(self.key, self.header_values)
        return Client(
            self.endpoint,
            first,
            pause,
            redaction,
            self.idle_seconds,
            others,
            self.by_model,
            keeps_replies=self.keeps_replies,
        )

    def _transport(self, url: str, loop: Loop | None = None) -> Transport:
        return Transport(
            url,
            self.headers,
            connections=min(self.slots, free_files()),
            timeout_seconds=self.timeout_seconds,
            standard=self.standard,
            loop=loop,
        )
