"""The lines of a batch: requests as they are uploaded, answers as they come back, in any order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.batches.api import LINE_URL
from pipeline.client import shortened
from pipeline.errors import ErrorKind
from pipeline.providers import Endpoint
from pipeline.providers.documents import decode
from pipeline.records import Failure, JsonObject, Reply, Request, digest, json_text
from pipeline.redaction import Redaction

_OF_STREAMS = frozenset({"stream", "stream_options"})
_EXPIRED = "batch_expired"
_CANCELLED = "batch_cancelled"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a line, by its `custom_id`: its result, or None where it was canceled before it was answered."""

    custom_id: str
    result: Reply | Failure | None
    reply: str | None = None
    """The reply as it came."""


def line_id(row_id: str, request_hash: str) -> str:
    """Return the `custom_id` of a row's line: what a row is and asks, so that it means the same after a recovery."""
    return digest([row_id, request_hash])


def request_line(custom_id: str, request: Request, endpoint: Endpoint) -> bytes:
    """Return a request as a line of a batch. Lines are never streams."""
    body = {name: value for name, value in endpoint.payload(request).items() if name not in _OF_STREAMS}
    line = {"custom_id": custom_id, "method": "POST", "url": LINE_URL, "body": body}
    return json_text(line).encode("utf-8", "replace") + b"\n"


def read_answers(paths: Iterable[Path], endpoint: Endpoint, redaction: Redaction) -> Iterator[Answer]:
    """Yield what came of each line, as the files tell it; a line that is none is left out."""
    for path in paths:
        with path.open("rb") as file:
            for raw in file:
                if (found := _answer(redaction.clean(raw), endpoint)) is not None:
                    yield found


def _answer(raw: bytes, endpoint: Endpoint) -> Answer | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    custom_id = line.get("custom_id") if isinstance(line, dict) else None
    if not isinstance(custom_id, str):
        return None
    response, error = line.get("response"), line.get("error")
    if isinstance(response, Mapping) and isinstance(response.get("status_code"), int):
        body = json.dumps(response.get("body"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        return Answer(custom_id, endpoint.parse(response["status_code"], {}, body), shortened(decode({}, body)))
    return Answer(custom_id, _failure(error if isinstance(error, Mapping) else {}))


def _failure(error: JsonObject) -> Failure | None:
    code = str(error.get("code") or "")
    if code == _CANCELLED:
        return None
    if code == _EXPIRED:
        return Failure(ErrorKind.TIMEOUT, "the batch expired before this line was answered")
    return Failure(ErrorKind.SERVER_ERROR, f"the line failed: {error.get('message') or code or 'no reason given'}")


MISSING = Failure(ErrorKind.SERVER_ERROR, "the batch ended without a word of this line")
EXPIRED = Failure(ErrorKind.TIMEOUT, "the batch expired before this line was answered")
