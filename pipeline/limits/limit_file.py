"""The file behind a shared limit: what was sent in the last minute, who waits, and until when all of them pause.

Every record lies within one page of memory and is written by one call. Linux copies up to one page of a write at once,
and checks for a fatal signal only after it (`generic_perform_write`, mm/filemap.c). So a kill leaves each record either
old or new. Nothing is synced: what was written outlives every process. After a power cut, or if the file holds anything
else, it is started again with everything that can have been sent before the machine started. A file that no process can
have written is started again as if a whole minute's worth had just been sent.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import CheckpointFailed

_FORMAT = 1
BUCKET_SECONDS = 1 / 16
"""What is sent within so long is counted together, as if it was sent at the end of it: 0.1% of a rate at most."""

_BOOT_BYTES = 40
_MAGIC = b"limit-%d" % _FORMAT
_HEADER = np.dtype(
    {
        "names": ["magic", "boot", "ticket", "paused_until", "requests_spread_until", "tokens_spread_until"],
        "formats": ["S8", f"S{_BOOT_BYTES}", "<u8", "<f8", "<f8", "<f8"],
        "itemsize": 128,
    }
)
_PLACE = np.dtype(
    {
        "names": ["ticket", "asked_at", "tokens", "requests_per_minute", "tokens_per_minute"],
        "formats": ["<u8", "<f8", "<f8", "<f8", "<f8"],
        "itemsize": 64,
    }
)
_BUCKET = np.dtype([("number", "<u4"), ("requests", "<u4"), ("tokens", "<u8")])
_LAYOUT = np.dtype([("header", _HEADER), ("places", _PLACE, 256), ("buckets", _BUCKET, 1024)])
_MAX_REQUESTS = 2**32 - 1
_MAX_TOKENS = 2**63 - 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html
_MAX_BOOT_BYTES = 4096
_MAX_PAUSE_SECONDS = 1e12
_ROUNDING_SECONDS = 1.0
_PATIENCE_SECONDS = 0.05
_POLL_SECONDS = 0.0005

Records = npt.NDArray[np.void]


def limit_path(name: str) -> Path:
    """Return where the limit of that name is stored: with the checkpoints of the working directory.

    Versions of the program that write it in another format use another file.
    """
    return Path(".checkpoints", ".shared", f"{name}-{_FORMAT}.limit")


class LimitFile:
    """An open limit file; `header`, `places` and `buckets` hold its content when it was last locked.

    Times are monotonic seconds, which the processes of one machine share; `clock` returns them.

    Raises CheckpointFailed if the file cannot be used, here and in every method.
    """

    def __init__(self, path: Path, boot: str | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._boot = boot.encode() if boot is not None else boot_id()
        self._clock = clock
        self._buffer = bytearray(_LAYOUT.itemsize)
        content = np.frombuffer(self._buffer, _LAYOUT, 1)
        self.header: Records = content["header"]
        self.places: Records = content["places"][0]
        self.buckets: Records = content["buckets"][0]
        with self._named():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Lock the file exclusively and read it. Yields False, without the lock, if another process keeps it.

        Processes hold the lock for a moment only, unless one is stopped in that very moment.
        """
        with self._named():
            if not self._lock():
                yield False
                return
            try:
                if os.preadv(self._file, [self._buffer], 0) < len(self._buffer) or not self._is_ours():
                    self._begin(full_at=0.0)
                elif not self._is_valid():
                    self._begin(full_at=self._clock())
                yield True
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def paused_until(self) -> float:
        """Return until when all jobs pause. This needs no lock."""
        with self._named():
            found = os.pread(self._file, 8, _HEADER.fields["paused_until"][1])  # type: ignore[index]
        until = float(np.frombuffer(found, "<f8")[0]) if len(found) == 8 else 0.0
        return until if self._can_be_pause(until) else 0.0

    def write_header(self) -> None:
        """Write `header` to the file."""
        self._write(0, _HEADER.itemsize)

    def write_place(self, index: int) -> None:
        """Write one of `places` to the file."""
        self._write(_HEADER.itemsize + index * _PLACE.itemsize, _PLACE.itemsize)

    def count(self, number: int, requests: int, tokens: int) -> None:
        """Add to a bucket, or subtract from it. A bucket whose record belongs to a later one by now is left alone."""
        index = number % len(self.buckets)
        found = self.buckets[index]
        if found["number"] > number:
            return
        if found["number"] < number:
            found["requests"] = found["tokens"] = 0
        found["number"] = number
        found["requests"] = min(max(0, int(found["requests"]) + requests), _MAX_REQUESTS)
        found["tokens"] = min(max(0, int(found["tokens"]) + tokens), _MAX_TOKENS)
        self._write(len(self._buffer) - (len(self.buckets) - index) * _BUCKET.itemsize, _BUCKET.itemsize)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _lock(self) -> bool:
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() >= give_up:
                return False
            time.sleep(_POLL_SECONDS)

    def _is_ours(self) -> bool:
        return bytes(self.header["magic"][0]) == _MAGIC and bytes(self.header["boot"][0]) == self._boot

    def _is_valid(self) -> bool:
        """Return whether processes of this program can have written it by now. Times further ahead would block all
        jobs.
        """
        now, header, places = self._clock() + _ROUNDING_SECONDS, self.header, self.places[self.places["ticket"] > 0]
        spread = np.concatenate([header["requests_spread_until"], header["tokens_spread_until"]])
        rates = np.concatenate([places["requests_per_minute"], places["tokens_per_minute"]])
        return bool(
            self._can_be_pause(float(header["paused_until"][0]))
            and header["ticket"][0] < _MAX_TOKENS
            and np.isfinite(spread).all()
            and self.buckets["number"].max() <= now / BUCKET_SECONDS
            and self.buckets["tokens"].max() <= _MAX_TOKENS
            and (places["asked_at"] <= now).all()
            and ((places["tokens"] >= 0) & np.isfinite(places["tokens"])).all()
            and (rates > 0).all()
        )

    def _can_be_pause(self, until: float) -> bool:
        return 0 <= until <= self._clock() + _MAX_PAUSE_SECONDS

    def _begin(self, full_at: float) -> None:
        self._buffer[:] = bytes(len(self._buffer))
        number = int(full_at / BUCKET_SECONDS)
        self.buckets[number % len(self.buckets)] = (number, _MAX_REQUESTS, _MAX_TOKENS)
        self.header["magic"], self.header["boot"] = _MAGIC, self._boot
        # The header last: a file without one is started again by the next process.
        self._write(_HEADER.itemsize, len(self._buffer) - _HEADER.itemsize)
        self._write(0, _HEADER.itemsize)

    def _write(self, start: int, size: int) -> None:
        os.pwrite(self._file, memoryview(self._buffer)[start : start + size], start)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CheckpointFailed(f"limits.shared: {self._path} cannot be used: {error.strerror}") from error


def boot_id() -> bytes:
    """Return an id of this start of the machine, and with it of its monotonic clock, within 40 bytes."""
    found = b""
    with suppress(OSError), _BOOT_ID.open("rb") as file:
        found = file.read(_MAX_BOOT_BYTES).strip().rstrip(b"\0")
    found = found or str(int(time.time() - time.monotonic()) // 3600).encode()
    return (
        found
        if len(found) <= _BOOT_BYTES
        else hashlib.blake2b(found, digest_size=_BOOT_BYTES // 2).hexdigest().encode()
    )
