"""An object store as a storage: files are finished here, checked, and only then uploaded, as one object."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType

from pipeline.errors import InvalidInput, StoreFailed, StoreRefused
from pipeline.storage.client import Client, Conflict, ObjectFacts, Passing, patiently
from pipeline.storage.interface import Version
from pipeline.storage.location import UPLOADS_NAME, Location, StorePath
from pipeline.storage.spool import Spool

_ENDING = ".writing"
_UPLOAD = "upload"
"""The note by which an upload finds what it has made."""
_TRIES = 3


class ObjectStorage:
    """See Storage. Every method raises StoreRefused and StoreFailed; `client` is that of the paths' bucket."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def version(self, path: Location) -> Version | None:
        """Return the version of the object; None where there is none."""
        found = self.facts(_stored(path))
        return None if found is None else found.version

    def open(self, path: Location) -> BufferedReader:
        """Open the object, as it is now, for reading at any position. Raises FileNotFoundError if it is not there."""
        version = self.version(path)
        if version is None:
            raise FileNotFoundError(f"{path} is not there")
        return self.spool(_stored(path), version).open()

    def spool(self, path: StorePath, version: Version) -> Spool:
        """Return one version of the object, for reading more than once.

        Its reading raises InvalidInput where the object has been replaced or removed meanwhile, StoreRefused where it
        may not be read, and StoreFailed where it may not be read any more.
        """
        has_read = False

        def fetch(start: int, length: int) -> bytes:
            nonlocal has_read
            mark = str(version.mark)
            try:
                data = patiently(path, lambda: self._client.read(path.key, start, length, mark))
                has_read = True
            except StoreRefused as error:
                if has_read:
                    raise StoreFailed(str(error)) from error
                raise
            except Conflict:
                raise InvalidInput(f"{path} was replaced or removed while it was read; run the job again") from None
            if len(data) != length:
                raise StoreFailed(f"{path}: the store gave {len(data)} bytes where {length} were asked for")
            return data

        return Spool(fetch, version.size, path.work)

    def names(self, directory: Location) -> list[str]:
        """Return the names of what is directly in a folder; none where nothing is."""
        folder = f"{_stored(directory).key}/"
        found = self.keys(_stored(directory).with_key(folder))
        return list(dict.fromkeys(key.removeprefix(folder).partition("/")[0] for key in found if key != folder))

    def keys(self, path: StorePath) -> list[str]:
        """Return the keys of the bucket that begin with the key of the path, in order."""
        return patiently(path, lambda: list(self._client.keys(path.key)))

    @contextmanager
    def publish(
        self, path: Location, owner: str, before: Callable[[Path], None] | None = None, *, beside: bool = False
    ) -> Iterator[Path]:
        """Give a file in the work directory to write to; when the block ends, it is uploaded as the object `path`.

        The upload takes the place of the very object that `before` has looked at, or of none, where the store can tell.
        """
        path = _stored(path)
        draft = path.work / UPLOADS_NAME / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}{_ENDING}"
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(b"")
        try:
            yield draft
            self._replace(path, draft, partial(before, draft) if before else lambda: None)
        finally:
            draft.unlink(missing_ok=True)
            with suppress(OSError):  # still in use
                draft.parent.rmdir()

    def discard(self, path: Location, owner: str) -> None:
        """Remove what a killed `publish` has left on this machine, for any path: a work directory has one owner."""
        uploads = _stored(path).work / UPLOADS_NAME
        for draft in uploads.glob(f"*{_ENDING}"):
            draft.unlink(missing_ok=True)
        with suppress(OSError):  # not there, or still in use
            uploads.rmdir()

    def remove(self, path: Location) -> None:
        """Remove the object, if there is one."""
        path = _stored(path)
        if self.facts(path) is not None:  # what may not be removed may not be there at all
            patiently(path, partial(self._client.remove, path.key))

    def try_to_write(self, path: StorePath) -> None:
        """Raise StoreRefused where the object could not be written; leaves nothing behind."""
        patiently(path, lambda: self._client.try_to_write(path.key))

    def abandon_uploads(self, path: StorePath) -> None:
        """Remove what killed uploads have left in the store, as far as the path's work directory knows of them."""
        patiently(path, self._client.abandon_uploads)

    def facts(self, path: StorePath) -> ObjectFacts | None:
        """Return what an object is, with the notes of its writer; None where there is none."""
        return patiently(path, lambda: self._client.head(path.key))

    def _replace(self, path: StorePath, file: Path, before: Callable[[], None]) -> None:
        for _ in range(_TRIES):
            standing = self.facts(path)
            before()
            if self.put(path, file, None if standing is None else standing.version):
                return
        raise StoreFailed(f"{path}: something else writes to it, too; nothing was uploaded")

    def put(
        self, path: StorePath, file: Path, replaced: Version | None, notes: Mapping[str, str] = MappingProxyType({})
    ) -> bool:
        """Upload a file, with notes. Returns False where the object was not the version `replaced` any more.

        An error may hide success, so the object is looked at before an error is said. Raises StoreFailed.
        """
        upload = secrets.token_hex(8)
        try:
            self._client.put(path.key, file, replaced, {_UPLOAD: upload, **notes})
            return True
        except (Passing, Conflict, StoreRefused, StoreFailed) as error:
            with suppress(Passing, StoreRefused):
                found = self._client.head(path.key)
                if found is not None and found.notes.get(_UPLOAD) == upload:
                    return True
            if isinstance(error, Conflict):
                return False
            raise StoreFailed(f"{path}: it could not be uploaded: {error}") from error


def _stored(path: Location) -> StorePath:
    assert isinstance(path, StorePath)
    return path
