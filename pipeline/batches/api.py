"""The provider's Files and Batches API (platform.openai.com/docs/api-reference/batch), one call at a time.

tenacity repeats the calls that are free to repeat: uploads, looks and downloads. The creation of a batch is sent once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
from msgspec import Struct
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from pipeline.addresses import is_loopback
from pipeline.endings import StopKind
from pipeline.errors import ErrorKind
from pipeline.limits import Pause
from pipeline.providers import Endpoint
from pipeline.providers.batch_lines import LINE_URL
from pipeline.records import Failure, JsonObject
from pipeline.redaction import Redaction
from pipeline.retry import Decision, asked_wait, decide
from pipeline.wording import lasting

METADATA_KEY = "llm-batch-pipeline"
"""The name under which a batch's metadata holds its key."""

_CHAT = "/chat/completions"
_PAGE = 100
_PIECE = 1 << 18
_LONGEST_SLEEP = 60.0
_NOT_THERE = frozenset({404, 405, 501})
"""How a server says that it does not know a path, or not this method of it."""
_BOUNDARY = "llm-batch-pipeline-2f6b1d"

Result = TypeVar("Result")


class Refused(Exception):
    """The provider refuses a call for good; `kind` ends the run."""

    def __init__(self, kind: StopKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Gone(Refused):
    """The provider has no such batch."""


class Unanswered(Exception):
    """A call has no usable reply for a cause that may pass."""


class BatchState(Struct, frozen=True):
    """A batch as the provider tells of it."""

    id: str
    status: str
    key: str | None
    has_metadata: bool
    input_file_id: str | None
    created_at: float
    output_file_id: str | None = None
    error_file_id: str | None = None
    completed: int = 0
    failed: int = 0
    message: str = ""

    @classmethod
    def of(cls, found: JsonObject) -> BatchState:
        """Return the state in a batch object. Raises Unanswered where it is none."""
        metadata = found.get("metadata")
        counts = found.get("request_counts")
        counts = counts if isinstance(counts, Mapping) else {}
        errors = found.get("errors")
        first = errors.get("data") if isinstance(errors, Mapping) else None
        told = first[0] if isinstance(first, list) and first and isinstance(first[0], Mapping) else {}
        if not isinstance(found.get("id"), str) or not isinstance(found.get("status"), str):
            raise Unanswered("the reply is no batch")
        return cls(
            found["id"],
            found["status"],
            metadata.get(METADATA_KEY) if isinstance(metadata, Mapping) else None,
            isinstance(metadata, Mapping),
            found.get("input_file_id"),
            float(found.get("created_at") or 0),
            found.get("output_file_id"),
            found.get("error_file_id"),
            int(counts.get("completed") or 0),
            int(counts.get("failed") or 0),
            str(told.get("message") or ""),
        )


class BatchApi:
    """Calls to one provider. `headers` go with each, `timeout_seconds` bounds each, and `most_seconds` the time that a
    call which may be repeated is repeated for.

    Each waits for the end of the `pause`, which the provider extends by Retry-After. Methods raise Refused, also where
    it asks for more than `most_pause_seconds`, and Unanswered where no call within the time has a usable reply. Those
    about one batch raise Gone where the provider has none of its id.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        headers: Mapping[str, str],
        redaction: Redaction,
        *,
        pause: Pause,
        timeout_seconds: float,
        most_seconds: float,
        most_pause_seconds: float,
    ) -> None:
        self._endpoint = endpoint
        self._redaction = redaction
        self._timeout = timeout_seconds
        self._most_seconds = most_seconds
        self._pause = pause
        self._most_pause_seconds = most_pause_seconds
        parts = urlsplit(endpoint.url)
        self._base = parts._replace(path=parts.path.removesuffix(_CHAT))
        self._session = requests.Session()
        self._session.headers.update({name: value for name, value in headers.items() if name != "Content-Type"})
        # To this machine without a proxy, as requests to the endpoint go.
        self._session.trust_env = not is_loopback(parts.hostname or "")

    def upload(self, path: Path) -> str:
        """Upload the lines of a batch. Returns the file's id."""

        def call() -> str:
            with path.open("rb") as file:
                body = _Form(file, path.name, path.stat().st_size)
                kind = f"multipart/form-data; boundary={_BOUNDARY}"
                found = self._json("POST", "/files", data=body, headers={"Content-Type": kind})
            if not isinstance(found.get("id"), str):
                raise Unanswered("the reply to an upload names no file")
            return str(found["id"])

        return self._repeated(call)

    def create(self, file_id: str, window: str, key: str) -> BatchState:
        """Create a batch, by one call. After Unanswered it is not known whether there is one."""
        asked = {
            "input_file_id": file_id,
            "endpoint": LINE_URL,
            "completion_window": window,
            "metadata": {METADATA_KEY: key},
        }
        return BatchState.of(self._json("POST", "/batches", json=asked))

    def batch(self, batch_id: str) -> BatchState:
        """Return the state of a batch."""
        return self._repeated(lambda: BatchState.of(self._json("GET", f"/batches/{batch_id}")))

    def cancel(self, batch_id: str) -> BatchState:
        """Ask for a batch to be canceled, and return its state."""
        return self._repeated(lambda: BatchState.of(self._json("POST", f"/batches/{batch_id}/cancel")))

    def batches(self, since: float) -> Iterator[BatchState]:
        """Yield the provider's batches, latest first, as far back as `since` (Unix seconds)."""
        after: str | None = None
        while True:
            page = self._repeated(lambda after=after: self._page(after))  # type: ignore[misc]
            states = [BatchState.of(found) for found in page["data"]]
            yield from states
            if not page.get("has_more") or not states or states[-1].created_at < since:
                return
            after = states[-1].id

    def download(self, file_id: str, path: Path) -> None:
        """Write a file's content to `path`, complete."""

        def call() -> None:
            with self._sent("GET", f"/files/{file_id}/content", stream=True) as reply, path.open("wb") as file:
                try:
                    for piece in reply.iter_content(_PIECE):
                        file.write(piece)
                except requests.RequestException as error:
                    raise Unanswered(f"the download of {file_id} broke off: {type(error).__name__}") from error

        self._repeated(call)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _page(self, after: str | None) -> JsonObject:
        parameters = {"limit": str(_PAGE), **({} if after is None else {"after": after})}
        found = self._json("GET", "/batches", params=parameters)
        if not isinstance(found.get("data"), list):
            raise Refused(StopKind.NO_BATCHES, "the server does not list its batches, so one could be created twice")
        return found

    def _repeated(self, call: Callable[[], Result]) -> Result:
        repeated = Retrying(
            retry=retry_if_exception_type(Unanswered),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            stop=stop_after_delay(self._most_seconds),
            reraise=True,
        )
        return repeated(call)

    def _json(self, method: str, path: str, **options: Any) -> JsonObject:
        with self._sent(method, path, **options) as reply:
            try:
                found = json.loads(self._redaction.clean(reply.content))
            except (ValueError, requests.RequestException) as error:
                raise Unanswered(f"the reply to {method} {path} is no JSON") from error
        if not isinstance(found, dict):
            raise Unanswered(f"the reply to {method} {path} is no JSON object")
        return found

    def _sent(self, method: str, path: str, **options: Any) -> requests.Response:
        url = urlunsplit(self._base._replace(path=self._base.path + path))
        while (left := self._pause.until - time.monotonic()) > 0:
            time.sleep(min(left, _LONGEST_SLEEP))
        try:
            reply = self._session.request(method, url, timeout=self._timeout, allow_redirects=False, **options)
        except requests.RequestException as error:
            raise Unanswered(f"{method} {path}: {type(error).__name__}") from error
        if reply.status_code < 300:
            return reply
        with reply:
            raise self._fault(f"{method} {path}", reply)

    def _fault(self, what: str, reply: requests.Response) -> Exception:
        failure = self._endpoint.parse(reply.status_code, reply.headers, self._redaction.clean(reply.content))
        assert isinstance(failure, Failure)
        words = f"{what}: {failure.message}"
        if reply.status_code in _NOT_THERE and what.endswith(("/batches", "/files")):
            return Refused(StopKind.NO_BATCHES, f"the server has no Batches API: {words}")
        if reply.status_code == 404 and "/batches/" in what:
            return Gone(StopKind.BATCH_FAILED, f"{words}; if it is lost for good, `pipeline cancel` gives it up")
        if decide(failure) in (Decision.STOP, Decision.REFUSE):
            return Refused(stop_kind(failure), words)
        if failure.kind is ErrorKind.BAD_REQUEST:
            return Refused(StopKind.BATCH_FAILED, words)
        asked = asked_wait(reply.status_code, reply.headers, datetime.now(UTC))
        if asked is not None:
            self._pause.extend(time.monotonic() + asked)
            if asked > self._most_pause_seconds:
                words = f"the endpoint asks for a pause of {lasting(asked)}, longer than this run waits: {words}"
                return Refused(StopKind.RETRY_AFTER, words)
        return Unanswered(words)


def stop_kind(failure: Failure) -> StopKind:
    """Return the word for a run that ends because every request would fail so."""
    return StopKind[failure.kind.name]


class _Form:
    """A file as the body of a form, read as it is sent."""

    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        tail = f"\r\n--{_BOUNDARY}--\r\n"
        self._parts = [head.encode(), tail.encode()]
        self._file = file
        self._size = size

    def __len__(self) -> int:
        return self._size + sum(map(len, self._parts))

    def __iter__(self) -> Iterator[bytes]:
        head, tail = self._parts
        yield head
        while piece := self._file.read(_PIECE):
            yield piece
        yield tail


def new_key(job: str) -> str:
    """Return a key that no other batch has. It names the job, and nothing of its prompts."""
    return f"{job}/{int(time.time()):x}-{os.urandom(8).hex()}"
