"""What a check across keys finds, before it has a place."""

from __future__ import annotations

from msgspec import Struct

from pipeline.config.schema import KeyPath


class Finding(Struct, frozen=True):
    """A mistake at a key; `depends_on` are the other keys it was concluded from."""

    path: KeyPath
    message: str
    suggestion: str | None = None
    depends_on: tuple[KeyPath, ...] = ()


def path(key: str) -> KeyPath:
    """Return the path of a dotted key of the schema."""
    return tuple(key.split("."))
