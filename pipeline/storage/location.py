"""Where a file is: a path on this machine, or the name of an object in a store."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

SCHEMES = ("s3", "gs", "abfs")
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)/?(.*)", re.DOTALL)


class StoreOptions(Struct, frozen=True):
    """How a store is reached, where the environment does not say it; `anonymous` sends no credentials."""

    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool = False


UPLOADS_NAME = "uploads"
"""The directory in a work directory for files that are to be uploaded, and the record of open uploads."""
DEFAULT_OPTIONS = StoreOptions()


class StorePath(Struct, frozen=True):
    """An object in a store: `bucket` is that of S3 and Google Cloud Storage, or the container of Azure's Blob Storage,
    with `@account` where the path names it.

    `work` is the directory on this machine for what is written before it is uploaded, and for what is read again.
    """

    scheme: str
    bucket: str
    key: str
    options: StoreOptions
    work: Path

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.key.rpartition("/")[2]

    def with_name(self, name: str) -> StorePath:
        """Return the path with another name after the last slash."""
        before, slash, _ = self.key.rpartition("/")
        return replace(self, key=f"{before}{slash}{name}")

    def with_key(self, key: str) -> StorePath:
        """Return the path of another object in the same bucket."""
        return replace(self, key=key)


Location = Path | StorePath


def split_uri(text: str) -> tuple[str, str, str] | None:
    """Return scheme, bucket and key of a URI; None for a path on this machine."""
    found = _URI.fullmatch(text)
    return None if found is None else (found[1], found[2], found[3])


def location(text: str, options: StoreOptions, work: Path) -> Location:
    """Return where `text` says a file is: an object where it is a URI, else a path on this machine."""
    found = split_uri(text)
    return Path(text) if found is None else StorePath(*found, options, work)
