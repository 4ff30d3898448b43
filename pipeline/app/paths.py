"""Whether what a command will write can be written where the job says, found out before anything is sent."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.config import Job
from pipeline.errors import InvalidInput, Mistake
from pipeline.limits.limit_file import limit_path
from pipeline.sink import draft_path, partial_path
from pipeline.sources import Source
from pipeline.sources.files import find_files

# A disk without space is not the job file's fault: it is found, and told, where the space is needed.
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


def path_mistakes(job: Job, source: Source | None) -> Iterator[Mistake]:
    """What is wrong with the places of the output, the checkpoint, the shared limit, the simulator's ledger and the
    metrics. Leaves nothing behind.
    """
    taken = _taken(job, source)
    output = Path(job.config.output.path)
    if job.writes_output and not job.is_doubtful("output.path"):
        yield from _output_mistakes(job, output, taken)
    if not job.is_doubtful("checkpoint.path") and not job.is_doubtful("name"):
        blocked = _blocked(job.checkpoint_path)
        if blocked is not None:
            yield _unwritable("checkpoint.path", blocked)
    shared = job.config.limits.shared
    if shared is not None and (blocked := _blocked(limit_path(shared), is_file=True)) is not None:
        yield Mistake(blocked, key="limits.shared", suggestion="change its permissions, or leave the key out")
    simulator = job.config.simulator
    if job.config.endpoint.is_simulator and simulator is not None and simulator.ledger is not None:
        taken[os.path.realpath(output)] = "the output"
        yield from _ledger_mistakes(Path(simulator.ledger), taken)
    if job.config.metrics.textfile is not None:
        yield from _metrics_mistakes(Path(job.config.metrics.textfile), taken)


def refuse_to_overwrite(job: Job, path: Path) -> None:
    """Raise InvalidInput where `path` is a directory, or a file that the job lives by, under whatever name."""
    try:
        is_directory = path.is_dir()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be used: {error.strerror}") from error
    if is_directory:
        raise InvalidInput(f"{path} is a directory; name a file")
    output = Path(job.config.output.path)
    held = {
        "the job file": [Path(job.file)],
        "the job's input": _input_files(job),
        "the job's output": [output, partial_path(output)],
        "a file of the job's checkpoint": [job.checkpoint_path, *job.checkpoint_path.glob("*")],
    }
    for what, files in held.items():
        if any(_is_same(path, file) for file in files):
            raise InvalidInput(f"{path} is {what}; name another file")
    if Path(os.path.realpath(job.checkpoint_path)) in Path(os.path.realpath(path)).parents:
        raise InvalidInput(f"{path} is in the job's checkpoint; name another file")


def _input_files(job: Job) -> list[Path]:
    """The files of the input, as far as they are there."""
    with suppress(InvalidInput):
        return [Path(file.path) for file in find_files(job.config.input.path, job.config.input.format)[0]]
    return []


def _is_same(path: Path, other: Path) -> bool:
    """Whether both are one file, also by a symbolic or hard link, or would be."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return path.exists() and other.exists() and path.samefile(other)


def _taken(job: Job, source: Source | None) -> dict[str, str]:
    """Files that nothing may be written over, and what each of them is."""
    named = () if job.is_doubtful("input.path") else job.config.input.path
    inputs = [named] if isinstance(named, str) else list(named)
    if source is not None:
        inputs += [file.path for file in source.files]
    return {**{os.path.realpath(one): "the input" for one in inputs}, os.path.realpath(job.file): "the job file"}


def _output_mistakes(job: Job, output: Path, taken: dict[str, str]) -> Iterator[Mistake]:
    if os.path.isdir(output):
        suggestion = f"name a file, such as {output / (job.config.name + '.parquet')}"
        yield Mistake(f"{output} is a directory", key="output.path", suggestion=suggestion)
        return
    over = next((taken[path] for path in map(os.path.realpath, (output, partial_path(output))) if path in taken), None)
    if over is not None:
        suggestion = "give the answers a file of their own"
        yield Mistake(f"the output would overwrite {over}", key="output.path", suggestion=suggestion)
    blocked = _blocked(draft_path(partial_path(output), "0" * 16), is_file=True)  # the longest name that is needed
    if blocked is not None:
        yield _unwritable("output.path", blocked)


def _ledger_mistakes(ledger: Path, taken: dict[str, str]) -> Iterator[Mistake]:
    over = taken.get(os.path.realpath(ledger))
    if over is not None:
        suggestion = "give the ledger a file of its own"
        yield Mistake(f"the ledger would be added to {over}", key="simulator.ledger", suggestion=suggestion)
        return
    blocked = _blocked(ledger, is_file=True)
    if blocked is None and os.path.lexists(ledger):
        try:
            os.close(os.open(ledger, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK))
        except OSError as error:
            blocked = f"{ledger} cannot be written to: {error.strerror}"
    if blocked is not None:
        yield _unwritable("simulator.ledger", blocked)


def _metrics_mistakes(textfile: Path, taken: dict[str, str]) -> Iterator[Mistake]:
    over = taken.get(os.path.realpath(textfile))
    if over is not None:
        suggestion = "give the metrics a file of their own"
        yield Mistake(f"the metrics would overwrite {over}", key="metrics.textfile", suggestion=suggestion)
        return
    blocked = f"{textfile} is a directory" if os.path.isdir(textfile) else _blocked(textfile, is_file=True)
    if blocked is not None:
        yield _unwritable("metrics.textfile", blocked)


def _unwritable(key: str, blocked: str) -> Mistake:
    return Mistake(blocked, key=key, suggestion="choose another place, or change its permissions")


def _blocked(path: Path, *, is_file: bool = False) -> str | None:
    """Why a directory, or a file, could not be made or written in; None if it could be.

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
    standing = next(one for one in (directory, *directory.absolute().parents) if os.path.lexists(one))
    if not os.path.isdir(standing):
        return f"{standing} cannot be written to: it is no directory"
    try:
        longest = os.pathconf(standing, "PC_NAME_MAX")
        with tempfile.TemporaryFile(dir=standing):
            pass
    except OSError as error:
        return None if error.errno in _FULL else f"{standing} cannot be written to: {error.strerror}"
    made = path.absolute().parts[len(standing.absolute().parts) :]
    if any(len(os.fsencode(name)) > longest for name in made):
        return f"{path} cannot be used: a name in it is too long"
    return None
