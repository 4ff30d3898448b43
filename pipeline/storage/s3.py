"""Amazon S3, and stores that speak its language, by botocore: https://docs.aws.amazon.com/AmazonS3/latest/API/."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.loaders
import botocore.session

from pipeline.errors import StoreRefused
from pipeline.storage.client import CONNECT_SECONDS, READ_SECONDS, Conflict, ObjectFacts, Passing, patiently
from pipeline.storage.interface import Version
from pipeline.storage.location import StorePath
from pipeline.storage.uploads import OpenUpload, UploadRecord

PART_BYTES = 16 * 2**20
"""The least size of a part; it is also the most that is sent in one piece."""
_MOST_PARTS = 10_000
_THREADS = 4
_PASSING_CODES = frozenset({"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"})
_PASSING = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.IncompleteReadError,
)
_UNKNOWN_CODES = frozenset({"NotImplemented", "MethodNotAllowed"})
_CONFLICT_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_NO_CREDENTIALS = (
    "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or"
    " `storage: {anonymous: true}` for what anybody may read"
)


class S3Client:
    """See Client. One that many threads may use."""

    def __init__(self, path: StorePath) -> None:
        self._bucket = path.bucket
        self._name = f"s3://{path.bucket}"
        self._record = UploadRecord(path.work)
        self._endpoint_url = path.options.endpoint_url
        config = botocore.config.Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            # Stores that are not Amazon's may refuse sums at the end of a body. They are not needed: over http:// a
            # body is signed, and over https:// it cannot change on its way.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=_THREADS + 1,
            signature_version=botocore.UNSIGNED if path.options.anonymous else None,
        )
        session = botocore.session.get_session()
        session.register_component("data_loader", _loader())
        with self._said():
            self._client = session.create_client(
                "s3", region_name=path.options.region, endpoint_url=self._endpoint_url, config=config
            )

    def head(self, key: str) -> ObjectFacts | None:
        """Return what an object is; None where there is none."""
        try:
            found = self._call("head_object", Key=key)
        except KeyError:
            return None
        except StoreRefused:
            self._call("get_object", Key=key, Range="bytes=0-0")  # whose refusal comes with words
            raise
        return ObjectFacts(Version(found["ContentLength"], found["ETag"]), found.get("Metadata", {}))

    def read(self, key: str, start: int, length: int, mark: str) -> bytes:
        """Return a part of an object's version. Raises Conflict where it is not any more."""
        try:
            found = self._call("get_object", Key=key, Range=f"bytes={start}-{start + length - 1}", IfMatch=mark)
            with self._said():
                return bytes(found["Body"].read())
        except KeyError:
            raise Conflict from None

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with a prefix, in order."""
        more: dict[str, str] = {}
        while True:
            found = self._call("list_objects_v2", Prefix=prefix, **more)
            yield from (one["Key"] for one in found.get("Contents", ()))
            if not found.get("IsTruncated"):
                return
            more = {"ContinuationToken": found["NextContinuationToken"]}

    def put(self, key: str, file: Path, replaced: Version | None, notes: Mapping[str, str]) -> None:
        """Make a file the object, in one request or, if it is large, in parts that one request puts together."""
        condition = {"IfNoneMatch": "*"} if replaced is None else {"IfMatch": replaced.mark}
        size = file.stat().st_size
        if size <= PART_BYTES:
            data = file.read_bytes()
            put = self._again("put_object", data, Key=key, Metadata=notes)
            self._if_it_can_tell(put, condition)
            return
        with self._upload(key, notes) as number:
            parts = self._send_parts(key, number, file, size)
            put = self._again("complete_multipart_upload", Key=key, UploadId=number, MultipartUpload={"Parts": parts})
            self._if_it_can_tell(put, condition)

    def remove(self, key: str) -> None:
        """Remove an object, if it is there."""
        with suppress(KeyError):
            self._call("delete_object", Key=key)

    def try_to_write(self, key: str) -> None:
        """Begin an upload of the object in parts, and give it up."""
        with self._upload(key, {}) as number, suppress(KeyError, _NotImplemented):
            self._call("abort_multipart_upload", Key=key, UploadId=number)

    def abandon_uploads(self) -> None:
        """Abort the uploads that are on record: each by its number, or else those that were not there before it."""
        for one in self._record.read():
            if one.endpoint_url != self._endpoint_url:
                continue
            numbers = [one.number] if one.number is not None else []
            if one.number is None and one.others is not None:
                numbers = [number for number in self._open_uploads(one.bucket, one.key) if number not in one.others]
            for number in numbers:
                with suppress(KeyError, _NotImplemented):
                    self._call("abort_multipart_upload", Bucket=one.bucket, Key=one.key, UploadId=number)
            self._record.exchange(one, None)

    @contextmanager
    def _upload(self, key: str, metadata: Mapping[str, str]) -> Iterator[str]:
        """Give the number of a new upload, which is on record before it is open, and aborted where the block fails."""
        others = self._others(key)
        intent = OpenUpload(self._bucket, key, self._endpoint_url, None, others)
        self._record.exchange(None, intent)
        number = self._again("create_multipart_upload", Key=key, Metadata=metadata)()["UploadId"]
        opened = OpenUpload(self._bucket, key, self._endpoint_url, number, others)
        self._record.exchange(intent, opened)
        try:
            yield number
        except BaseException:
            with suppress(Passing, StoreRefused, KeyError):
                self._call("abort_multipart_upload", Key=key, UploadId=number)
                self._record.exchange(opened, None)
            raise
        self._record.exchange(opened, None)

    def _others(self, key: str) -> tuple[str, ...] | None:
        try:
            return tuple(self._open_uploads(self._bucket, key))
        except (StoreRefused, Passing):
            return None  # it may not be looked at

    def _open_uploads(self, bucket: str, key: str) -> list[str]:
        try:
            found = self._call("list_multipart_uploads", Bucket=bucket, Prefix=key)
        except KeyError:
            return []  # which is how some stores (rclone) say that none is open
        return [one["UploadId"] for one in found.get("Uploads", ()) if one["Key"] == key]

    def _send_parts(self, key: str, number: str, file: Path, size: int) -> list[dict[str, object]]:
        length = max(PART_BYTES, -(-size // _MOST_PARTS))

        def send(part: int) -> dict[str, object]:
            with file.open("rb") as opened:
                opened.seek((part - 1) * length)
                data = opened.read(length)
            put = self._again("upload_part", data, Key=key, UploadId=number, PartNumber=part)
            return {"PartNumber": part, "ETag": put()["ETag"]}

        with ThreadPoolExecutor(_THREADS) as threads:
            try:
                return list(threads.map(send, range(1, -(-size // length) + 1)))
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise

    def _if_it_can_tell(self, put: Callable[..., Any], condition: Mapping[str, object]) -> None:
        """Put an object under a condition; without it where the store knows no such conditions."""
        try:
            put(**condition)
        except _NotImplemented:
            put()

    def _again(self, operation: str, data: bytes | None = None, **arguments: Any) -> Callable[..., Any]:
        """Return a call that is made again while it fails for a passing cause: to repeat it changes nothing."""

        def call(**more: Any) -> Any:
            # As a file, which is sent in pieces: the limit on connecting is also that on sending a piece.
            body = {} if data is None else {"Body": io.BytesIO(data)}
            return self._call(operation, **arguments, **body, **more)

        return lambda **more: patiently(self._name, partial(call, **more))

    def _call(self, operation: str, **arguments: Any) -> Any:
        """Make a call. Raises KeyError where the object or upload is not there."""
        with self._said():
            return getattr(self._client, operation)(**{"Bucket": self._bucket, **arguments})

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn what botocore raises into what the program knows."""
        try:
            yield
        except botocore.exceptions.ClientError as error:
            raise self._meaning(error.response) from error
        except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
            raise StoreRefused(f"{self._name}: {_NO_CREDENTIALS}") from error
        except _PASSING as error:
            raise Passing(str(error)) from error
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise StoreRefused(f"{self._name}: {error}") from error

    def _meaning(self, response: Any) -> Exception:
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code, words = response.get("Error", {}).get("Code", ""), response.get("Error", {}).get("Message", "")
        said = f"{code}: {words} (HTTP {status})"
        if code in _UNKNOWN_CODES:
            return _NotImplemented(f"{self._name}: {said}")
        if status >= 500 or status == 429 or code in _PASSING_CODES:
            return Passing(said)
        if code in _CONFLICT_CODES:
            return Conflict(said)
        if code in ("404", "NoSuchKey", "NoSuchUpload"):
            return KeyError(said)
        if status == 412:
            return Conflict(said)
        return StoreRefused(f"{self._name}: the store refuses: {said}")


class _NotImplemented(StoreRefused):
    """The store knows the request, or a header of it, not."""


@cache
def _loader() -> botocore.loaders.Loader:
    return botocore.session.get_session().get_component("data_loader")
