"""Google Cloud Storage, by its own library: https://cloud.google.com/python/docs/reference/storage/latest.

An upload that is cut off leaves nothing to be removed: its session is not billed, and ends by itself within a week.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")  # read at import: whether there is a metadata service at all

import google.api_core.exceptions
import google.auth.exceptions
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from pipeline.errors import StoreRefused
from pipeline.storage.client import (
    CONNECT_SECONDS,
    PATIENCE_SECONDS,
    READ_SECONDS,
    Conflict,
    ObjectFacts,
    Passing,
    refused_if_missing,
)
from pipeline.storage.interface import Version
from pipeline.storage.location import StorePath

_nobody: Any = AnonymousCredentials
_CHUNK_BYTES = 16 * 2**20
_ONCE: Any = {"timeout": (CONNECT_SECONDS, READ_SECONDS), "retry": None}
_NO_CREDENTIALS = (
    "no credentials were found: set GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth application-default login`, or set"
    " `storage: {anonymous: true}` for what anybody may read"
)
_PASSING = (
    google.api_core.exceptions.ServerError,
    google.api_core.exceptions.TooManyRequests,
    google.api_core.exceptions.RetryError,
    google.auth.exceptions.TransportError,
    requests.ConnectionError,
    requests.Timeout,
)


class GoogleClient:
    """See Client."""

    def __init__(self, path: StorePath) -> None:
        self._name = f"gs://{path.bucket}"
        endpoint = path.options.endpoint_url
        options = None if endpoint is None else {"api_endpoint": endpoint}
        with self._said():
            if path.options.anonymous:
                self._client = storage.Client("-", _nobody(), client_options=options)
            else:
                # The project counts only for making buckets.
                self._client = storage.Client(os.environ.get("GOOGLE_CLOUD_PROJECT", "-"), client_options=options)
        self._bucket = self._client.bucket(path.bucket)

    def head(self, key: str) -> ObjectFacts | None:
        """Return what an object is; None where there is none."""
        with self._said():
            found = self._bucket.get_blob(key, **_ONCE)
        if found is None:
            return None
        return ObjectFacts(Version(found.size, str(found.generation)), found.metadata or {})

    def read(self, key: str, start: int, length: int, mark: str) -> bytes:
        """Return a part of an object's version. Raises Conflict where it is not any more."""
        try:
            with self._said():
                blob = self._bucket.blob(key, generation=int(mark))
                end = start + length - 1
                return bytes(blob.download_as_bytes(start=start, end=end, raw_download=True, checksum=None, **_ONCE))
        except KeyError:
            raise Conflict from None

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with a prefix, in order."""
        with refused_if_missing(self._name), self._said():
            yield from (blob.name for blob in self._client.list_blobs(self._bucket, prefix=prefix, **_ONCE))

    def put(self, key: str, file: Path, replaced: Version | None, notes: Mapping[str, str]) -> None:
        """Make a file the object, if that is of the generation `replaced`."""
        blob = self._bucket.blob(key, chunk_size=_CHUNK_BYTES)
        blob.metadata = dict(notes)
        with refused_if_missing(self._name), self._said():
            blob.upload_from_filename(
                str(file),
                if_generation_match=0 if replaced is None else int(replaced.mark),
                checksum="crc32c",
                timeout=_ONCE["timeout"],
                retry=DEFAULT_RETRY.with_timeout(PATIENCE_SECONDS),
            )

    def remove(self, key: str) -> None:
        """Remove an object, if it is there."""
        with suppress(KeyError), self._said():
            self._bucket.blob(key).delete(**_ONCE)

    def try_to_write(self, key: str) -> None:
        """Begin an upload of the object, and give it up."""
        with refused_if_missing(self._name), self._said():
            session = self._bucket.blob(key).create_resumable_upload_session(**_ONCE)
            self._client._http.delete(session, timeout=_ONCE["timeout"])

    def abandon_uploads(self) -> None:
        """Do nothing: what is cut off ends by itself."""

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn what the library raises into what the program knows. Raises KeyError for what is not there."""
        try:
            yield
        except google.api_core.exceptions.NotFound as error:
            raise KeyError(error.message) from error
        except google.api_core.exceptions.PreconditionFailed as error:
            raise Conflict(error.message) from error
        except _PASSING as error:
            raise Passing(str(error)) from error
        except google.api_core.exceptions.GoogleAPICallError as error:
            raise StoreRefused(f"{self._name}: the store refuses: {error.message} (HTTP {error.code})") from error
        except google.auth.exceptions.DefaultCredentialsError as error:
            raise StoreRefused(f"{self._name}: {_NO_CREDENTIALS}") from error
        except google.auth.exceptions.GoogleAuthError as error:
            raise StoreRefused(f"{self._name}: {error}") from error
