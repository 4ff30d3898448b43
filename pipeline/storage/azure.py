"""Azure's Blob Storage, by its own library: https://learn.microsoft.com/python/api/azure-storage-blob/.

An upload that is cut off leaves blocks that nobody sees, and that the store removes within a week.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobServiceClient

from pipeline.errors import StoreRefused
from pipeline.storage.client import CONNECT_SECONDS, READ_SECONDS, Conflict, ObjectFacts, Passing, refused_if_missing
from pipeline.storage.interface import Version
from pipeline.storage.location import StorePath

_BLOCK_BYTES = 16 * 2**20
_THREADS = 4
_NO_ACCOUNT = (
    "no storage account is named: write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/NAME, or set"
    " AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING"
)
_NEVER = '"0x0"'
"""The mark of no version."""


class AzureClient:
    """See Client. `bucket` is the container, with `@account` where the path names the account."""

    def __init__(self, path: StorePath) -> None:
        self._name = f"abfs://{path.bucket}"
        container, _, host = path.bucket.partition("@")
        logging.getLogger("azure").setLevel(logging.ERROR)  # its warnings of credentials that it did not find are long
        with self._said():
            self._container = _service(path, host).get_container_client(container)

    def head(self, key: str) -> ObjectFacts | None:
        """Return what an object is; None where there is none."""
        try:
            with self._said():
                found = self._container.get_blob_client(key).get_blob_properties()
        except KeyError:
            return None
        return ObjectFacts(Version(found.size, found.etag), found.metadata or {})

    def read(self, key: str, start: int, length: int, mark: str) -> bytes:
        """Return a part of an object's version. Raises Conflict where it is not any more."""
        try:
            with self._said():
                blob = self._container.get_blob_client(key)
                found = blob.download_blob(start, length, etag=mark, match_condition=MatchConditions.IfNotModified)
                return bytes(found.readall())
        except KeyError:
            raise Conflict from None

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with a prefix, in order."""
        with refused_if_missing(self._name), self._said():
            yield from self._container.list_blob_names(name_starts_with=prefix)

    def put(self, key: str, file: Path, replaced: Version | None, notes: Mapping[str, str]) -> None:
        """Make a file the object, in one request or, if it is large, of blocks that one request puts together."""
        condition: Any = {"match_condition": MatchConditions.IfMissing}
        if replaced is not None:
            condition = {"match_condition": MatchConditions.IfNotModified, "etag": replaced.mark}
        with refused_if_missing(self._name), self._said(), file.open("rb") as data:
            self._container.get_blob_client(key).upload_blob(
                data,
                length=file.stat().st_size,
                overwrite=True,
                metadata=dict(notes),
                max_concurrency=_THREADS,
                validate_content=True,
                **condition,
            )

    def remove(self, key: str) -> None:
        """Remove an object, if it is there."""
        with suppress(KeyError), self._said():
            self._container.get_blob_client(key).delete_blob()

    def try_to_write(self, key: str) -> None:
        """Write the object on a condition that never holds: the store looks first whether it may be written."""
        with suppress(Conflict), refused_if_missing(self._name), self._said():
            blob = self._container.get_blob_client(key)
            blob.upload_blob(b"", overwrite=True, etag=_NEVER, match_condition=MatchConditions.IfNotModified)

    def abandon_uploads(self) -> None:
        """Do nothing: the store removes what is cut off."""

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn what the library raises into what the program knows. Raises KeyError for what is not there."""
        try:
            yield
        except ClientAuthenticationError as error:
            raise StoreRefused(f"{self._name}: the store refuses: {_words(error)}") from error
        except HttpResponseError as error:
            status = error.status_code or 0
            if status == 404:
                raise KeyError(_words(error)) from error
            if status in (409, 412):
                raise Conflict(_words(error)) from error
            if status >= 500 or status in (0, 408, 429):
                raise Passing(_words(error)) from error
            raise StoreRefused(f"{self._name}: the store refuses: {_words(error)} (HTTP {status})") from error
        except AzureError as error:
            raise Passing(_words(error)) from error
        except ValueError as error:
            raise StoreRefused(f"{self._name}: {error}") from error


def _service(path: StorePath, host: str) -> BlobServiceClient:
    settings: Any = {
        "max_single_put_size": _BLOCK_BYTES,
        "max_block_size": _BLOCK_BYTES,
        "retry_total": 0,
        "connection_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
    }
    connection = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if connection and not host and path.options.endpoint_url is None and not path.options.anonymous:
        return BlobServiceClient.from_connection_string(connection, **settings)
    account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT")
    address = path.options.endpoint_url
    if address is None:
        if not account:
            raise ValueError(_NO_ACCOUNT)
        address = f"https://{account}.blob.{host.partition('.dfs.')[2] or 'core.windows.net'}"
    return BlobServiceClient(address, _credential(path, account), **settings)


def _credential(path: StorePath, account: str | None) -> Any:
    if path.options.anonymous:
        return None
    if key := os.environ.get("AZURE_STORAGE_KEY"):
        return {"account_name": account, "account_key": key} if account else key
    if token := os.environ.get("AZURE_STORAGE_SAS_TOKEN"):
        return token
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def _words(error: AzureError) -> str:
    return str(error.message).partition("\n")[0]
