"""A disk as a power cut may leave it: what was synced is there, and of the rest whatever the kernel had got round to.

Content is on disk once the file was synced, an entry of a directory once the directory was, in the strict reading of
POSIX: file systems that do more of themselves are not relied upon. Of what was not synced, the entries of a directory
reach the disk in order, and the content of files in any order and in sectors of 512 bytes.

SQLite calls fdatasync for a directory, and goes on where that fails. So that does not count either: the program has to
sync it itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.recording import Mkdir, Open, Rename, Send, Step, Sync, Truncate, Unlink, Write

_SECTOR = 512


@dataclass
class File:
    """`pending` has happened to `durable` and made it `current`, and is not synced."""

    durable: bytes = b""
    current: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list)

    def change(self, change: Write | Truncate) -> None:
        _apply(self.current, change)
        self.pending.append(change)

    def sync(self) -> None:
        if self.pending:
            self.durable, self.pending = bytes(self.current), []

    def survives(self, chance: random.Random) -> bytes:
        """What may be left of the content."""
        content = bytearray(self.durable)
        for change in self.pending:
            if isinstance(change, Truncate):
                if chance.random() < 0.5:
                    _apply(content, change)
                continue
            whole, none = chance.random() < 0.4, chance.random() < 0.4
            for start in range(0, 0 if none else len(change.data), _SECTOR):
                if whole or chance.random() < 0.5:
                    _apply(content, Write("", change.offset + start, change.data[start : start + _SECTOR]))
        return bytes(content)


@dataclass
class Directory:
    """Entries by name. Each of `pending` is one step: names with what they stand for from then on, None for nothing."""

    durable: dict[str, File | Directory] = field(default_factory=dict)
    current: dict[str, File | Directory] = field(default_factory=dict)
    pending: list[dict[str, File | Directory | None]] = field(default_factory=list)

    def change(self, step: dict[str, File | Directory | None]) -> None:
        _enter(self.current, step)
        self.pending.append(step)

    def sync(self) -> None:
        self.durable, self.pending = dict(self.current), []

    def survives(self, chance: random.Random) -> dict[str, File | Directory]:
        """Which entries may be left."""
        entries = dict(self.durable)
        for step in self.pending[: chance.randint(0, len(self.pending))]:
            _enter(entries, step)
        return entries


class Disk:
    """A directory tree, empty at first, that steps are applied to."""

    def __init__(self) -> None:
        self.root = Directory()

    def apply(self, step: Step) -> None:
        """Take in a step."""
        if isinstance(step, Send):
            return
        if isinstance(step, Sync):
            found = self._find(step.path)
            if not (isinstance(found, Directory) and step.is_data_only):
                found.sync()
            return
        directory, name = self._parent(step.path)
        match step:
            case Write() | Truncate():
                self._file(step.path).change(step)
            case Open():
                if name not in directory.current:
                    directory.change({name: File()})
                elif step.is_emptied:
                    self._file(step.path).change(Truncate(step.path, 0))
            case Mkdir():
                directory.change({name: Directory()})
            case Unlink():
                directory.change({name: None})
            case Rename():
                target_directory, target = self._parent(step.target)
                assert target_directory is directory, "a rename within a directory is one step"
                directory.change({name: None, target: directory.current[name]})

    def as_it_is(self, path: Path) -> None:
        """Write down what a reader would find now: what a kill leaves."""
        _write(self.root, path, lambda directory: directory.current, lambda file: bytes(file.current))

    def synced(self, path: Path) -> None:
        """Write down what was synced, and nothing else: the least that a power cut leaves."""
        _write(self.root, path, lambda directory: directory.durable, lambda file: file.durable)

    def surviving(self, path: Path, chance: random.Random) -> None:
        """Write down what was synced and some of the rest."""
        _write(self.root, path, lambda directory: directory.survives(chance), lambda file: file.survives(chance))

    def _find(self, path: str) -> File | Directory:
        found: File | Directory = self.root
        for name in Path(path).parts:
            assert isinstance(found, Directory)
            found = found.current[name]
        return found

    def _file(self, path: str) -> File:
        found = self._find(path)
        assert isinstance(found, File)
        return found

    def _parent(self, path: str) -> tuple[Directory, str]:
        found = self._find(str(Path(path).parent))
        assert isinstance(found, Directory)
        return found, Path(path).name


def _apply(content: bytearray, change: Write | Truncate) -> None:
    end = change.size if isinstance(change, Truncate) else change.offset + len(change.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if isinstance(change, Truncate):
        del content[change.size :]
    else:
        content[change.offset : end] = change.data


def _enter(entries: dict[str, File | Directory], step: dict[str, File | Directory | None]) -> None:
    for name, entry in step.items():
        if entry is None:
            entries.pop(name, None)
        else:
            entries[name] = entry


def _write(
    directory: Directory,
    path: Path,
    entries: Callable[[Directory], dict[str, File | Directory]],
    content: Callable[[File], bytes],
) -> None:
    path.mkdir(parents=True)
    for name, entry in entries(directory).items():
        if isinstance(entry, Directory):
            _write(entry, path / name, entries, content)
        else:
            (path / name).write_bytes(content(entry))
