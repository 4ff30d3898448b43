"""All that a sender has to know, whichever process it works in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.client import Client
from pipeline.endpoints import Endpoint
from pipeline.limits import Pause
from pipeline.redaction import Redaction
from pipeline.transport import Loop, Transport


@dataclass(frozen=True, slots=True)
class Sending:
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

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key and the values of fixed headers."""
        return self.header_values if self.key is None else (self.key, *self.header_values)

    def client(self, pause: Pause) -> Client:
        """A client for this process. Connects to nothing yet. Raises InvalidInput for what cannot be sent with."""
        first = self._transport(self.endpoint.url)
        others = [self._transport(url, first.loop) for url in self.other_urls]
        redaction = Redaction(self.key, self.header_values)
        return Client(self.endpoint, first, pause, redaction, self.idle_seconds, others)

    def _transport(self, url: str, loop: Loop | None = None) -> Transport:
        return Transport(
            url, self.headers, connections=self.slots, timeout_seconds=self.timeout_seconds, standard=self.standard,
            loop=loop,
        )  # fmt: skip
