"""The lines of a batch as answers come back, in any order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.client import shortened
from pipeline.errors import ErrorKind
from pipeline.providers import Endpoint
from pipeline.providers.documents import DocumentTooLarge, decode, json_text, read_document
from pipeline.records import Failure, JsonObject, Reply, digest_of_texts
from pipeline.redaction import Redaction

_BYTES_AT_ONCE = 1 << 20
_EXPIRED = "batch_expired"
_CANCELLED = "batch_cancelled"
_CUSTOM_ID = re.compile(r'"custom_id"\s*:\s*"([0-9a-f]+)"')
"""The `custom_id` of a line of ours, where the line cannot be read."""


class Answer(NamedTuple):
    """What came of a line, by its `custom_id`: its result, or None where it was canceled before it was answered."""

    custom_id: str
    result: Reply | Failure | None
    reply: str | None = None
    """The reply as JSON text, where it was asked for."""


def line_id(row_id: str, request_hash: str) -> str:
    """Return the `custom_id` of a row's line: what a row is and asks, so that it means the same after a recovery."""
    return digest_of_texts(row_id, request_hash)


def read_answers(
    paths: Iterable[Path], endpoint: Endpoint, redaction: Redaction, *, keeps_replies: bool
) -> Iterator[Answer]:
    """Yield what came of each line, as the files tell it; a line that is none is left out."""
    for path in paths:
        with path.open("rb") as file:
            # Many lines at once are cleaned and decoded as fast as one.
            while lines := file.read(_BYTES_AT_ONCE):
                lines += file.readline()
                for text in decode({}, redaction.clean(lines)).split("\n"):
                    if (found := _answer(text, endpoint, keeps_replies)) is not None:
                        yield found


def _answer(text: str, endpoint: Endpoint, keeps_replies: bool) -> Answer | None:
    try:
        line = read_document(text)
    except DocumentTooLarge as fault:
        named = _CUSTOM_ID.search(text)
        return None if named is None else Answer(named[1], Failure(ErrorKind.REPLY_TOO_LARGE, str(fault)))
    custom_id = line.get("custom_id") if isinstance(line, dict) else None
    if not isinstance(custom_id, str):
        return None
    response, error = line.get("response"), line.get("error")
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        body = response.get("body")
        reply = shortened(json_text(body)) if keeps_replies else None
        return Answer(custom_id, endpoint.read(response["status_code"], body), reply)
    return Answer(custom_id, _failure(error if isinstance(error, dict) else {}))


def _failure(error: JsonObject) -> Failure | None:
    code = str(error.get("code") or "")
    if code == _CANCELLED:
        return None
    if code == _EXPIRED:
        return Failure(ErrorKind.TIMEOUT, "the batch expired before this line was answered")
    return Failure(ErrorKind.SERVER_ERROR, f"the line failed: {error.get('message') or code or 'no reason given'}")


MISSING = Failure(ErrorKind.SERVER_ERROR, "the batch ended without a word of this line")
EXPIRED = Failure(ErrorKind.TIMEOUT, "the batch expired before this line was answered")
GONE = Failure(ErrorKind.SERVER_ERROR, "the provider no longer has the batch of this line", possibly_billed=True)
