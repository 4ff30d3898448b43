"""Which storage keeps the file at a location."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, overload

from pipeline.errors import StoreRefused
from pipeline.storage.interface import Storage
from pipeline.storage.local import LOCAL
from pipeline.storage.location import Location, StorePath

if TYPE_CHECKING:
    from pipeline.storage.client import Client
    from pipeline.storage.remote import ObjectStorage

_VARIABLES = ("AWS_", "AZURE_", "GOOGLE_", "CLOUDSDK_", "STORAGE_EMULATOR_HOST")
_EXTRAS = {
    "s3": ("s3", ("botocore",)),
    "gs": ("gcs", ("google.cloud.storage",)),
    "abfs": ("azure", ("azure.storage.blob", "azure.identity")),
}
"""By scheme, the extra of this package that it needs, and the packages which that brings."""


@overload
def storage_of(path: StorePath) -> ObjectStorage: ...
@overload
def storage_of(path: Location) -> Storage: ...
def storage_of(path: Location) -> Storage:
    """Return the storage that keeps the file at `path`. Raises StoreRefused where a store cannot be used."""
    return LOCAL if isinstance(path, Path) else _remote(path.with_key(""), _environment())


def _environment() -> tuple[tuple[str, str], ...]:
    """Return the variables that say how a store is reached; another client is needed once one of them is another."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(_VARIABLES)))


@lru_cache(8)
def _remote(bucket: StorePath, environment: tuple[tuple[str, str], ...]) -> ObjectStorage:
    from pipeline.storage.remote import ObjectStorage

    return ObjectStorage(_client(bucket))


def _client(bucket: StorePath) -> Client:
    if (missing := missing_extra(bucket.scheme)) is not None:
        raise StoreRefused(
            f"{bucket.scheme}:// needs the extra `{missing}`: pip install 'llm-batch-pipeline[{missing}]'"
        )
    client: Client
    if bucket.scheme == "s3":
        from pipeline.storage.s3 import S3Client

        client = S3Client(bucket)
    elif bucket.scheme == "gs":
        from pipeline.storage.gcs import GoogleClient

        client = GoogleClient(bucket)
    else:
        from pipeline.storage.azure import AzureClient

        client = AzureClient(bucket)
    return client


def missing_extra(scheme: str) -> str | None:
    """Return the extra of this package that a scheme needs and that is not installed; None if nothing is missing."""
    extra, packages = _EXTRAS[scheme]
    return None if all(map(_is_installed, packages)) else extra


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the package that it is within is not there
        return False


def is_taken(path: Location) -> bool:
    """Return whether there is anything at `path`. Raises OSError."""
    return os.path.exists(path) if isinstance(path, Path) else storage_of(path).version(path) is not None
