"""The manifest of an output in several files: which part files make it up, in the order of their rows."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from pipeline.journal.checks import is_count
from pipeline.records import JsonObject
from pipeline.storage import Location, storage_of

_CHUNK_BYTES = 2**20
_NAME = re.compile(r"part-(\d{5,})(?:-(\d+))?\.parquet")


class PartName(Struct, frozen=True):
    """The name of a part file: the part's number from 0, and how often its rows have changed."""

    number: int
    revision: int = 0

    @classmethod
    def parse(cls, name: str) -> PartName | None:
        """Return what a file name means; None if it is no part's."""
        found = _NAME.fullmatch(name)
        return None if found is None else cls(int(found[1]), int(found[2] or 0))

    def __str__(self) -> str:
        return f"part-{self.number:05}{f'-{self.revision}' if self.revision else ''}.parquet"


class PartFile(Struct, frozen=True):
    """A part file as the manifest lists it: its name in the directory, its rows, its size, and its hash."""

    path: str
    rows: int
    bytes: int
    sha256: str

    @classmethod
    def of(cls, name: str, rows: int, file: Location) -> PartFile:
        """Return the entry for a part that is complete in `file`. Raises OSError."""
        size, digest = 0, hashlib.sha256()
        with storage_of(file).open(file) as content:
            while chunk := content.read(_CHUNK_BYTES):
                size += len(chunk)
                digest.update(chunk)
        return cls(name, rows, size, digest.hexdigest())


class Manifest(Struct, frozen=True):
    """What a manifest says: the version of the program, the job and its runs, and the part files."""

    version: str | None
    job: str | None
    run_ids: tuple[str, ...]
    files: tuple[PartFile, ...]

    @property
    def rows(self) -> int:
        """How many rows the output has."""
        return sum(file.rows for file in self.files)

    def encode(self) -> str:
        """Return the manifest as JSON text."""
        content = {
            "version": self.version,
            "job": self.job,
            "run_ids": self.run_ids,
            "rows": self.rows,
            "files": [asdict(file) for file in self.files],
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_manifest(path: Location) -> Manifest | None:
    """Return the manifest at `path`; None if there is none, or if the file is no manifest.

    Raises StoreRefused, StoreFailed.
    """
    try:
        if isinstance(path, Path) and not path.is_file():  # reading a pipe would wait
            return None
        with storage_of(path).open(path) as file:
            found = json.load(file)
        return _parsed(found)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _parsed(found: JsonObject) -> Manifest | None:
    files = tuple(PartFile(**facts) for facts in found["files"])
    are_parts = all(PartName.parse(one.path) and is_count(one.rows) and is_count(one.bytes) for one in files)
    return Manifest(found["version"], found["job"], tuple(found["run_ids"]), files) if are_parts else None
