"""The uploads in parts that are open, on disk before anything is sent: what a kill leaves in a store is found by it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from msgspec import Struct
from msgspec.structs import asdict

from pipeline.storage.atomic import replacing
from pipeline.storage.location import UPLOADS_NAME

_LOCK = Lock()


class OpenUpload(Struct, frozen=True):
    """An upload of the object `key`: its `number` as the store names it, None until that is known; `others` are the
    numbers of uploads of that object that were open before, None where the store does not tell.
    """

    bucket: str
    key: str
    endpoint_url: str | None
    number: str | None = None
    others: tuple[str, ...] | None = None


class UploadRecord:
    """The open uploads that were begun with one work directory. Nothing is kept where that does not exist.

    Raises OSError where it cannot be written.
    """

    def __init__(self, work: Path) -> None:
        self._path = work / UPLOADS_NAME / "open.json"

    def read(self) -> list[OpenUpload]:
        """Return the open uploads; none where there is no record, or it is damaged."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            return [_upload(one) for one in json.loads(self._path.read_text("utf-8"))]
        return []

    def exchange(self, old: OpenUpload | None, new: OpenUpload | None) -> None:
        """Record an upload, and forget another one, or what was known of it before."""
        with _LOCK:
            kept = [one for one in self.read() if one != old]
            self._write(kept if new is None else [*kept, new])

    def _write(self, uploads: Sequence[OpenUpload]) -> None:
        directory = self._path.parent
        if not directory.parent.is_dir():
            return
        if not uploads:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # not there, or a file is about to be uploaded
                directory.rmdir()
            return
        directory.mkdir(exist_ok=True)
        with replacing(self._path, private=True) as draft:
            draft.write_text(json.dumps([asdict(one) for one in uploads]), "utf-8")


def _upload(found: dict[str, object]) -> OpenUpload:
    others = found["others"]
    assert isinstance(others, list | None)
    return OpenUpload(**{**found, "others": None if others is None else tuple(others)})  # type: ignore[arg-type]
