"""Where a job's files are, and which of them another path meets: one file by any name, or one within another."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from pipeline.config import Job
from pipeline.errors import InvalidInput
from pipeline.journal import Journal
from pipeline.sources.files import Format, find_files
from pipeline.sources.stored import matches
from pipeline.storage import Destination, split_uri


class Place(Struct, frozen=True):
    """A path that a job reads or writes. `what` names it in a message; `key` is the key of the job file that sets it,
    None for the job file itself.
    """

    what: str
    path: Path
    key: str | None = None
    inside: tuple[str, ...] = ()
    """The names of files that will be in it, where it is a directory."""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return bool(self.inside)


def input_entries(job: Job) -> tuple[str, ...]:
    """Return the entries of `input.path` on this machine; none where it names no files, or cannot be relied on."""
    if job.table is not None or job.is_doubtful("input.path"):
        return ()
    return tuple(entry for entry in job.config.input.paths if split_uri(entry) is None)


def job_places(job: Job, the: str = "the") -> list[Place]:
    """Return everything that a job reads or writes, as far as its job file can be relied on. `the` is how they are
    named: `the job's` where no job file is in sight.
    """
    config = job.config
    places = [Place("the job file", Path(job.file))]
    files = _input_files(input_entries(job), config.input.file_format)
    places += [Place(f"{the} input", path, "input.path") for path in files]
    if job.writes_output and not job.is_doubtful("output.path"):
        places += output_places(job.output, the)
    if not job.is_doubtful("checkpoint.path") and not job.is_doubtful("name"):
        places.append(Place(f"{the} checkpoint", job.checkpoint_path, "checkpoint.path", CHECKPOINT_NAMES))
    if config.endpoint.is_simulator and config.simulator is not None and config.simulator.ledger is not None:
        places.append(Place(f"{the} ledger", Path(config.simulator.ledger), "simulator.ledger"))
    if config.metrics.textfile is not None:
        places.append(Place(f"{the} metrics", Path(config.metrics.textfile), "metrics.textfile"))
    if config.cache is not None and not job.is_doubtful("cache.path"):
        places.append(Place(f"{the} cache", Path(config.cache.path), "cache.path"))
    return places


def output_places(output: Destination, the: str = "the") -> list[Place]:
    """Return everything that a run may write for an output on this machine: the file or the directory first."""
    inside = {output.path: _PART_NAMES} if output.is_directory else {}
    paths = dict.fromkeys((output.path, output.head, output.partial.path))
    return [
        Place(f"{the} output", path, "output.path", inside.get(path, ())) for path in paths if isinstance(path, Path)
    ]


def meeting(place: Place, others: Sequence[Place]) -> str | None:
    """Return what is wrong with writing at a place, by the first of the others that it meets; None if nothing is."""
    for other in others:
        if is_same(place.path, other.path):
            return f"{place.path} cannot be written to: it is {other.what}"
        if other.is_directory and names_below(place.path, other.path) is not None:
            return f"{place.path} is in {other.what}, {other.path}"
        if place.is_directory and names_below(other.path, place.path) is not None:
            return f"{place.path} holds {other.what}, {other.path}"
    return None


def read_as_input(entries: Sequence[str], path: Path, inside: Sequence[str] = ()) -> str | None:
    """Return which entry of the input a file at `path` would come under, or files of these names inside it; None if
    none would. Names with a leading dot come under a directory never, and under a pattern only where it has the dot.
    """
    for entry in entries:
        base, patterns = _parts(entry)
        below = names_below(path, base)
        if below is None:
            continue
        if patterns:
            files = [(*below, name) for name in inside] or [below]
            is_read = any(matches(names, patterns) for names in files)
        else:
            is_read = os.path.isdir(base) and not any(name.startswith(".") for name in below)
        if is_read:
            return entry
    return None


def is_same(path: Path, other: Path) -> bool:
    """Return whether both are one file, also by a symbolic or hard link or by another spelling, or would be."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    with suppress(OSError, ValueError):
        return path.samefile(other)
    return False


def names_below(path: Path, directory: Path) -> tuple[str, ...] | None:
    """Return the names that lead from the directory to the path below it; None where it is not below.

    Directories are compared as the file system knows them, so that links and other spellings of a name are seen
    through; one that is not there yet by its name.
    """
    real = Path(os.path.realpath(path))
    wanted = _identity(directory)
    directory = Path(os.path.realpath(directory))
    for above in real.parents:
        if above == directory or (wanted is not None and _identity(above) == wanted):
            return real.parts[len(above.parts) :]
    return None


def kind_of_special(path: Path) -> str | None:
    """Return what stands at the path, links followed, where it is there and not a regular file: `a directory`, say."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return None
    return next((word for test, word in _SPECIAL if test(mode)), "not a regular file")


def checkpoint_around(path: Path) -> Path | None:
    """Return the nearest directory above the path that holds the checkpoint of any job; None where none does."""
    return next((above for above in Path(os.path.realpath(path)).parents if Journal.exists(above)), None)


_PART_NAMES = ("part-00000.parquet",)
CHECKPOINT_NAMES = ("journal.sqlite", "journal.sqlite-wal", "progress.json", "plan", "lock", "acknowledged")
_SPECIAL = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def _input_files(entries: Sequence[str], file_format: Format | None) -> Iterator[Path]:
    """Yield the input's entries as the job names them, and their files as far as they are there."""
    for entry in entries:
        if not os.path.isdir(entry):
            yield Path(entry)
    with suppress(InvalidInput, OSError):
        yield from (Path(file.path) for file in (find_files(entries, file_format)[0] if entries else ()))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return facts.st_dev, facts.st_ino


def _parts(entry: str) -> tuple[Path, tuple[str, ...]]:
    """Split an entry into the directory up to its first wildcard and the patterns of the names below it, none for an
    entry without wildcards.
    """
    if os.path.lexists(entry) or not glob.has_magic(entry):
        return Path(entry), ()
    parts = Path(entry).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first]), parts[first:]
