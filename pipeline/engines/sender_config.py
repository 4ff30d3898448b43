"""All that a sender has to know, whichever process it works in."""

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
"""For what a process opens besides connections, such as a module that is imported late."""
_DESCRIPTORS = "/proc/self/fd"


def free_files() -> int:
    """Return how many connections this process may open by its limit on open files; one at least."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    used = len(os.listdir(_DESCRIPTORS)) if os.path.isdir(_DESCRIPTORS) else 0
    return max(1, soft - used - _SPARE_FILES)


@dataclass(frozen=True, slots=True)
class SenderConfig:
    """Where and how requests go out: at most `slots` at a time, each attempt within `timeout_seconds`, and ended after
    `idle_seconds` without a byte.

    `headers` may hold the key and the values of the job's fixed headers, which `key` and `header_values` name so that
    no reply brings them back. `standard` sends through requests' own adapter. What else shapes a connection (proxy,
    certificates) comes from the environment.
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
    """The endpoint's form for the models of a sweep: some write their reasoning into the text."""
    keeps_replies: bool = False
    """Whether each attempt has its reply as it came."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key and the values of fixed headers."""
        return self.header_values if self.key is None else (self.key, *self.header_values)

    def client(self, pause: Pause) -> Client:
        """Make a client for this process, with no more slots than it may open files. Connects to nothing yet.

        Raises InvalidInput for what cannot be sent with.
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
