"""Which files `input.path` means, in which order and format, and whether they are still what they were."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Literal

from pipeline.errors import InvalidInput, StoreRefused
from pipeline.sources.places import input_error
from pipeline.sources.stored import find_objects, open_object
from pipeline.sources.tables import refuse_partitions, refuse_tables
from pipeline.storage import DEFAULT_OPTIONS, StoreOptions, StorePath, location
from pipeline.storage.spool import Spool
from pipeline.suggest import did_you_mean, nearest

Format = Literal["csv", "parquet", "jsonl"]

ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".csv.zst": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".jsonl.zst": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
    ".ndjson.zst": "jsonl",
    ".json": "jsonl",
    ".json.gz": "jsonl",
    ".json.zst": "jsonl",
}

_PROBE_BYTES = 4096
_PIECE_BYTES = 2**20
_DESCRIBING = (".json", ".json.gz", ".json.zst")
_STANDS_STILL = "run again when it no longer changes"


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file as it was when the source was opened: its path as the job names it, and what `stat` said.

    Of an object in a store it has the mark of its version, and what reads that very version: `spool`.
    """

    path: str
    size: int
    modified_ns: int = 0
    changed_ns: int = 0
    inode: int = 0
    mark: str = ""
    spool: Spool | None = field(default=None, compare=False, repr=False)

    def open(self) -> BufferedReader:
        """Open the file for reading. Raises OSError."""
        return open(self.path, "rb") if self.spool is None else self.spool.open()

    @property
    def facts(self) -> list[object]:
        """What changes when the file is renamed, written or replaced."""
        facts = [self.path, self.size, self.modified_ns, self.changed_ns, self.inode]
        return [*facts, self.mark] if self.mark else facts


def find_files(
    path: str | Sequence[str],
    file_format: Format | None,
    options: StoreOptions = DEFAULT_OPTIONS,
    work: Path = Path(),
) -> tuple[tuple[InputFile, ...], Format]:
    """Return the files that `input.path` means, in order of their path, and the one format they have.

    Each entry is a file, a directory or a glob (`**` goes down through directories; names with a leading dot need one
    in the pattern). A directory stands for the files directly in it that have a known ending (of `file_format`, if that
    is given) and no leading dot; for those that end in .json if there are no others. `file_format` overrides the
    endings. An entry may also name an object of a store, a folder there, or a pattern; `options` say how the store is
    reached, and beside the directory `work` is what was read of it.

    Raises InvalidJob if nothing matches, the files are those of a table format, a file comes up twice, is not a regular
    file or holds no bytes, an extension says nothing, or the formats differ; StoreFailed.
    """
    entries = (path,) if isinstance(path, str) else tuple(path)
    paths: list[str | StorePath] = []
    for entry in entries:
        place = location(entry, options, work)
        paths += _expand(entry, file_format) if isinstance(place, Path) else _expand_stored(place, file_format)
    paths.sort(key=str)
    formats = {str(found): file_format or _format_of(str(found)) for found in paths}
    distinct = sorted(set(formats.values()))
    if len(distinct) > 1:
        message = f"the files have several formats ({', '.join(distinct)})"
        raise input_error(message, "name files of one format, or set `input.format`")
    return tuple(_distinct_files(paths)), distinct[0]


def _expand(entry: str, file_format: Format | None) -> Sequence[str]:
    if os.path.isdir(entry):
        names = [name for name in os.listdir(entry) if not name.startswith(".")]
        refuse_tables([entry])
        refuse_partitions(entry, names)
        return [os.path.join(entry, name) for name in _of_format(entry, names, file_format)]
    if os.path.lexists(entry) or not glob.has_magic(entry):
        return [entry]
    matches = [match for match in glob.glob(entry, recursive=True) if not os.path.isdir(match)]
    if not matches:
        raise input_error(f"no file matches {entry}", _where_paths_begin(entry))
    refuse_tables({os.path.dirname(match) for match in matches})
    return matches


def _expand_stored(entry: StorePath, file_format: Format | None) -> list[StorePath]:
    try:
        found = find_objects(entry, lambda names: _of_format(str(entry), names, file_format))
    except StoreRefused as error:
        raise input_error(str(error)) from error
    return [entry.with_key(key) for key in found]


def _of_format(directory: str, names: Sequence[str], file_format: Format | None) -> list[str]:
    """Return which names in a directory are of files that count. Raises InvalidJob if none is."""
    endings = [ending for ending, known in ENDINGS.items() if file_format in (None, known)]
    found = [name for name in names if name.lower().endswith(tuple(endings))]
    # Beside other data a .json file describes it, as a rule: it counts where nothing else does.
    found = [name for name in found if not name.lower().endswith(_DESCRIBING)] or found
    if not found:
        raise input_error(
            f"the directory {directory} holds no file that ends in {', '.join(endings)}",
            "name the file, and its format under `input.format`",
        )
    return found


def _format_of(path: str) -> Format:
    name = os.path.basename(path).lower()
    for ending, file_format in ENDINGS.items():
        if name.endswith(ending):
            return file_format
    raise input_error(
        f"{path}: its extension says no format; known are {', '.join(ENDINGS)}",
        "set `input.format` to csv, parquet or jsonl",
    )


def _distinct_files(paths: Sequence[str | StorePath]) -> Iterator[InputFile]:
    seen: dict[object, str] = {}
    for path in paths:
        if isinstance(path, StorePath):
            if path in seen:
                raise input_error(f"the same object comes up twice: {path}", "name it once")
            seen[path] = str(path)
            yield _object(path)
            continue
        facts = _stat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise input_error(f"{path} is not a regular file", "write it to a file: the input is read more than once")
        if facts.st_size == 0:
            raise input_error(f"{path} holds no bytes at all", "a file without rows still has the names of its columns")
        identity = (facts.st_dev, facts.st_ino)
        if identity in seen:
            raise input_error(f"the same file comes up twice: {seen[identity]} and {path}", "name it once")
        seen[identity] = path
        yield InputFile(path, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


def _object(path: StorePath) -> InputFile:
    version, spool = open_object(path)
    if version.size == 0:
        raise input_error(f"{path} holds no bytes at all", "a file without rows still has the names of its columns")
    return InputFile(str(path), version.size, mark=str(version.mark), spool=spool)


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except FileNotFoundError as error:
        raise input_error(f"no such file: {path}", _near_file(path) or _where_paths_begin(path)) from error
    except (OSError, ValueError) as error:
        raise input_error(f"{path} cannot be read: {error}") from error


def _near_file(path: str) -> str | None:
    directory, name = os.path.split(path)
    try:
        names = os.listdir(directory or ".")
    except OSError:
        return None
    return did_you_mean([f"`{os.path.join(directory, near)}`" for near in nearest(name, names)])


def _where_paths_begin(path: str) -> str | None:
    return None if os.path.isabs(path) else f"paths are relative to the directory the command runs in, {os.getcwd()}"


def check_unchanged(file: InputFile) -> None:
    """Raise InvalidJob if the file's size, modification time or inode are no longer those at opening.

    An object is read in the version that it had at opening, or not at all.
    """
    if file.spool is not None:
        return
    try:
        facts = os.stat(file.path)
    except OSError as error:
        raise input_error(f"{file.path} disappeared while it was read", _STANDS_STILL) from error
    if (facts.st_size, facts.st_mtime_ns, facts.st_ino) != (file.size, file.modified_ns, file.inode):
        raise input_error(f"{file.path} changed while it was read", _STANDS_STILL)


def file_facts(file: InputFile) -> list[object]:
    """Return what identifies a file: its facts, and a digest of its first, middle and last bytes, because a file system
    may keep times to the second. Raises InvalidJob if it cannot be read.
    """
    if file.mark:  # of the version of an object, whose bytes never change
        return file.facts
    found = hashlib.blake2b(digest_size=16)
    try:
        with file.open() as opened:
            for place in (0, file.size // 2, max(0, file.size - _PROBE_BYTES)):
                opened.seek(place)
                found.update(opened.read(_PROBE_BYTES))
    except OSError as error:
        raise input_error(f"{file.path} disappeared while it was read", _STANDS_STILL) from error
    return [*file.facts, found.hexdigest()]


def digest_of_beginning(file: InputFile, count: int) -> str:
    """Return a digest of the first `count` bytes of a file; of all it has, if these are fewer. Raises InvalidJob if it
    cannot be read.
    """
    found = hashlib.blake2b(digest_size=16)
    try:
        with file.open() as opened:
            while piece := opened.read(min(count, _PIECE_BYTES)):
                found.update(piece)
                count -= len(piece)
    except OSError as error:
        raise input_error(f"{file.path} disappeared while it was read", _STANDS_STILL) from error
    return found.hexdigest()


def is_touched(file: InputFile) -> bool:
    """Return whether anything about the file changed since opening, even its links and mode. Raises InvalidJob."""
    if file.spool is not None:
        return False
    try:
        return os.stat(file.path).st_ctime_ns != file.changed_ns
    except OSError as error:
        raise input_error(f"{file.path} disappeared while it was read", _STANDS_STILL) from error


@contextmanager
def watched(file: InputFile) -> Iterator[None]:
    """Check the file before and after what is done with it, and give a change as the cause of any error between."""
    check_unchanged(file)
    try:
        yield
    except InvalidInput:
        check_unchanged(file)
        raise
    check_unchanged(file)
