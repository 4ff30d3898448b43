"""Whether what a command will write can be written where the job says, found out before anything is sent."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.app.jobs.places import (
    CHECKPOINT_NAMES,
    Place,
    checkpoint_around,
    input_entries,
    job_places,
    kind_of_special,
    meeting,
    output_places,
    read_as_input,
)
from pipeline.app.jobs.sharding import is_of_same_job
from pipeline.config import Job
from pipeline.errors import InvalidInput, Mistake
from pipeline.journal import Journal
from pipeline.journal.files import is_own_directory
from pipeline.limits.limit_file import limit_path
from pipeline.storage import draft_path, led_to

# A full disk is not a mistake in the job file: it is reported where the space is needed.
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_MARKS = {"simulator.ledger": b'{"event":"asked","server":', "metrics.textfile": b"llm_batch_"}
"""Text near the start of a file that a run has written itself."""
_NATURE = {"simulator.ledger": "requests to the embedded endpoint", "metrics.textfile": "metrics of this program"}
_LONGEST_START = 4096


def path_mistakes(job: Job) -> Iterator[Mistake]:
    """Yield what is wrong with the places of what a run writes: the output, the checkpoint, the shared limit, the
    simulator's ledger and the metrics. Leaves nothing behind.
    """
    entries, places, whole = input_entries(job), job_places(job), job.whole.checkpoint_path
    written = {place.key: place for place in reversed(places) if place.key in _IN_ITS_WAY}
    for key, place in written.items():
        others = [other for other in places if other.key != key and (other.key not in written or _first(key, other))]
        outputs = output_places(job.output) if key == "output.path" else []
        mistake = _mistake(place, outputs, others, entries, whole, job.config.name)
        if mistake is not None:
            yield mistake
    shared = job.config.limits.shared
    if shared is not None and (blocked := _blocked(limit_path(shared), is_file=True)) is not None:
        yield Mistake(blocked, key="limits.shared", suggestion="change its permissions, or leave the key out")


def refuse_to_write(job: Job, path: Path, *, is_directory: bool = False) -> None:
    """Raise InvalidInput where `path` is a file that the job lives by under whatever name, a place that the job would
    read as input, or in any job's checkpoint; and where it is a directory, unless one is meant.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be used: {getattr(error, 'strerror', error)}") from error
    if path.is_dir() and not is_directory:
        raise InvalidInput(f"{path} is a directory; name a file")
    kind = "directory" if is_directory else "file"
    inside = CHECKPOINT_NAMES if is_directory else ()
    found = meeting(Place(f"this {kind}", path, inside=inside), job_places(job, "the job's"))
    if found is None and (entry := read_as_input(input_entries(job), path, inside)) is not None:
        found = f"{path} would be read as input by the next run, under `input.path: {entry}`"
    if found is None and (around := checkpoint_around(path)) is not None:
        found = f"{path} is in a checkpoint, {around}"
    if found is not None:
        raise InvalidInput(f"{found}; name another {kind}")


_CACHE = "cache.path"
_IN_ITS_WAY = {
    "checkpoint.path": "give the checkpoint a directory of its own, such as .checkpoints/NAME",
    "output.path": "write the answers to another file, such as data/out/NAME.parquet",
    "simulator.ledger": "give the ledger a file of its own",
    "metrics.textfile": "give the metrics a file of their own",
    _CACHE: "give the cache a file of its own",
}
"""Keys of what is written, and what to do where that meets another file. Of two that meet, the later one is named."""


def _first(key: str | None, other: Place) -> bool:
    """Return whether of two written places the other one comes first, so that they are named once."""
    order = list(_IN_ITS_WAY)
    return other.key in order[: order.index(key or "")]


def _mistake(
    place: Place, outputs: Sequence[Place], others: Sequence[Place], entries: Sequence[str], whole: Path, name: str
) -> Mistake | None:
    """Return what is wrong with a place: by itself, by the `others` that it meets, or by the input's `entries`.

    Args:
        outputs: everything that is written for an output, if it is one.
        whole: the checkpoint of the whole job.
        name: that of the job.
    """
    assert place.key is not None
    apart = _IN_ITS_WAY[place.key]
    for one in outputs or [place]:
        if (found := meeting(one, others)) is not None:
            return Mistake(found, key=place.key, suggestion=apart)
        if (entry := read_as_input(entries, one.path, one.inside)) is not None:
            message = f"{one.path} would be read as input by the next run, under `input.path: {entry}`"
            return Mistake(message, key=place.key, suggestion="put it elsewhere, or name the input's files")
        special = kind_of_special(one.path)
        if special is not None and not one.is_directory and place.key != _CACHE:
            suggestion = "name a file"
            if outputs and special == "a directory":
                inside = place.path / f"{name}.parquet"
                suggestion += f", such as {inside}, or a directory of part files as {place.path}/"
            return Mistake(f"{one.path} cannot be written to: it is {special}", key=place.key, suggestion=suggestion)
    if place.key == _CACHE:  # `refuse_unusable_cache` looks at the rest
        return None
    if outputs:
        blocked = _blocked_output(place, [one.path for one in outputs])
    elif place.is_directory:
        if (other := _other_checkpoint(whole, place.path)) is not None:
            message = f"{place.path} and the checkpoint {other} lie within each other"
            return Mistake(message, key=place.key, suggestion=apart)
        blocked = _blocked(place.path)
    else:
        blocked = _blocked(place.path, is_file=True)
        if blocked is None and place.key == "simulator.ledger":
            blocked = _unopened(place.path)
        if blocked is None and is_foreign(place.key, place.path):
            message = f"{place.path} exists, and is no file of {_NATURE[place.key]}"
            return Mistake(message, key=place.key, suggestion="name another file, or move it away")
    return None if blocked is None else _unwritable(place.key, blocked)


def _blocked_output(output: Place, written: Sequence[Path]) -> str | None:
    """Return why an output could not be written, given all of its places, the partial one last; None if it could be."""
    id_of_checkpoint = "0" * 16
    for path in written:
        try:
            target = led_to(path)
        except OSError as error:
            return f"{path} cannot be used: {error.strerror}"
        if target != path and (blocked := _blocked(draft_path(target, id_of_checkpoint), is_file=True)) is not None:
            return f"{path} leads to {target}: {blocked}"
    longest = draft_path(written[-1], id_of_checkpoint)
    if output.is_directory:
        directory = output.path
        if os.path.exists(directory) and os.stat(directory).st_dev != os.stat(directory.parent).st_dev:
            return f"{directory} is on a file system of its own; name a directory in it"
        longest = max(
            longest, draft_path(directory / "part-00000-1.parquet", id_of_checkpoint, beside=True), key=_length
        )
        if (blocked := _blocked(directory)) is not None:
            return blocked
    return _blocked(longest, is_file=True)


def _length(path: Path) -> int:
    return len(path.name)


def _other_checkpoint(whole: Path, directory: Path) -> Path | None:
    """Return the checkpoint of another job that is directly inside the directory or that contains it."""
    with suppress(OSError):
        inner = (path for path in sorted(directory.iterdir()) if path.is_dir() and not is_own_directory(path))
        others = (path for path in inner if Journal.exists(path) and not is_of_same_job(whole, path))
        if (found := next(others, None)) is not None:
            return found
    around = checkpoint_around(directory)
    return None if around is None or is_of_same_job(whole, around) else around


def _unopened(ledger: Path) -> str | None:
    if os.path.lexists(ledger):
        try:
            os.close(os.open(ledger, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK))
        except OSError as error:
            return f"{ledger} cannot be written to: {error.strerror}"
    return None


def is_foreign(key: str, path: Path) -> bool:
    """Return whether there is a file at the path of the ledger or the metrics that no run has written."""
    mark = _MARKS.get(key)
    if mark is None:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_START)
    except OSError:
        return False  # it is not there, or said already
    return bool(start) and mark not in start


def _unwritable(key: str, blocked: str) -> Mistake:
    return Mistake(blocked, key=key, suggestion="choose another place, or change its permissions")


def why_unusable(path: Path) -> str | None:
    """Return why a file could not be made or written to; None if it could be."""
    special = kind_of_special(path)
    return _blocked(path, is_file=True) if special is None else f"{path} cannot be written to: it is {special}"


def _blocked(path: Path, *, is_file: bool = False) -> str | None:
    """Return why a directory, or a file, could not be made or written in; None if it could be.

    The nearest directory above that exists is tried with a file that is gone at once: what permissions say is not all
    there is to it (a mount that is read-only, /proc, a user who may do everything).
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        return f"{path} cannot be used: {error.strerror}"
    directory = path.parent if is_file else path
    existing = next(one for one in (directory, *directory.absolute().parents) if os.path.lexists(one))
    if not os.path.isdir(existing):
        return f"{existing} cannot be written to: it is not a directory"
    try:
        longest = os.pathconf(existing, "PC_NAME_MAX")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return None if error.errno in _FULL else f"{existing} cannot be written to: {error.strerror}"
    made = path.absolute().parts[len(existing.absolute().parts) :]
    if any(len(os.fsencode(name)) > longest for name in made):
        return f"{path} cannot be used: a name in it is too long"
    return None
