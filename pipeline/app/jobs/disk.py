"""What is worth knowing of the disks that a run will write to, before anything is sent."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.app.jobs.job import OpenJob
from pipeline.config import Job
from pipeline.plan import Plan
from pipeline.storage import led_to, stands

_BYTES_A_TOKEN = 4
# What a row takes beside its answer: the event's facts in the journal, and the plan and the scratch database.
_BYTES_A_ROW = 1024
_LOG_BYTES = 16 * 2**20
# https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html; FUSE names what serves it after a dot.
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\(\d{3})")
_NETWORK = frozenset(
    (
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gcsfuse",
        "glusterfs",
        "gpfs",
        "lustre",
        "mount-s3",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "rclone",
        "s3fs",
        "smb2",
        "smb3",
        "smbfs",
        "sshfs",
    )
)
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def disk_warnings(opened: OpenJob, plan: Plan, tokens: int) -> Iterator[str]:
    """Return what may be wrong with the disks for a run whose answers are expected to have so many tokens."""
    yield from checkpoint_warnings(opened.job.checkpoint_path)
    journal = sum(path.stat().st_size for path in opened.job.checkpoint_path.glob("journal.sqlite*"))
    answers = tokens * _BYTES_A_TOKEN
    needs = {
        "checkpoint.path": (opened.job.checkpoint_path, answers + len(plan) * _BYTES_A_ROW + _LOG_BYTES),
        "output.path": (written_in(opened.job), answers + journal + _input_bytes(opened)),
    }
    by_disk: dict[int, list[str]] = {}
    for key, (path, _) in needs.items():
        by_disk.setdefault(nearest_existing(path).stat().st_dev, []).append(key)
    for keys in by_disk.values():
        path = needs[keys[0]][0]
        free, needed = shutil.disk_usage(nearest_existing(path)).free, sum(needs[key][1] for key in keys)
        if free < needed:
            sizes = f"{readable_size(free)} free on that disk, and about {readable_size(needed)} may be needed"
            yield f"{' and '.join(keys)}: {sizes}"


def written_in(job: Job) -> Path:
    """Return the directory that the output is written in: its own, or the checkpoint's if it is uploaded to a store."""
    path = job.output.path
    if not isinstance(path, Path):
        return job.checkpoint_path
    with suppress(OSError):  # links in a circle are refused before anything is written
        return led_to(path).parent
    return path.parent


def checkpoint_warnings(directory: Path) -> Iterator[str]:
    """Return what is wrong with the place of a checkpoint; None if nothing is."""
    with suppress(OSError):
        found = file_system(nearest_existing(directory), _MOUNTS.read_text("utf-8", "surrogateescape"))
        if found is not None and found.removeprefix("fuse.") in _NETWORK:
            yield (
                f"checkpoint.path: {directory} is on a network file system ({found}), whose locks and syncs may not"
                " hold; put it on a local disk (the output may stay)"
            )


def file_system(path: Path, mounts: str) -> str | None:
    """Return the type of the file system that a path is on, by the text of a `mountinfo`; None if it does not say."""
    real, found, length = os.path.realpath(path), None, -1
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount = _ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), fields[4])
        # A later mount on the same point hides the earlier one.
        if len(mount) >= length and (real == mount or real.startswith(mount.rstrip("/") + "/")):
            found, length = after.split(" ")[0], len(mount)
    return found


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest directory above it that exists."""
    return next(one for one in (path, *path.absolute().parents) if stands(one))


def _input_bytes(opened: OpenJob) -> int:
    return sum(file.size for file in opened.rows.source.files)


def readable_size(amount: float) -> str:
    """Return a number of bytes in a fitting unit."""
    unit = 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:,.0f} {_UNITS[unit]}"
