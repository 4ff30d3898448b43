"""The objects of a store that an entry of `input.path` means, by the same rules as files."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from pipeline.sources.places import input_error
from pipeline.storage import StorePath, Version, storage_of
from pipeline.storage.spool import Spool

_TABLES = {
    "Delta Lake": re.compile(r"_delta_log/"),
    "Apache Hudi": re.compile(r"\.hoodie/"),
    "Apache Iceberg": re.compile(r"metadata/[^/]*\.metadata\.json"),
}
_BEFORE_WILDCARDS = re.compile(r"[^*?[]*")


def find_objects(entry: StorePath, of_format: Callable[[Sequence[str]], list[str]]) -> list[str]:
    """Return the keys that an entry means: an object, those that match a pattern, or those directly in a folder.

    Of a folder's names, those without a further slash or a leading dot, `of_format` picks the ones that count. Raises
    InvalidJob if there is none, or the folder is a table of a known format; StoreRefused, StoreFailed.
    """
    storage = storage_of(entry)
    if entry.name and storage.version(entry) is not None:
        return [entry.key]
    if glob.has_magic(entry.key):
        names = storage.keys(entry.with_key(_BEFORE_WILDCARDS.findall(entry.key)[0]))
        found = [name for name in names if matches(name.split("/"), entry.key.split("/"))]
        if not found:
            raise input_error(f"no object matches {entry}")
        return found
    folder = entry.key if not entry.key or entry.key.endswith("/") else f"{entry.key}/"
    below = [name.removeprefix(folder) for name in storage.keys(entry.with_key(folder))]
    if not below:
        raise input_error(f"no such object: {entry}")
    for table, mark in _TABLES.items():
        if any(map(mark.match, below)):
            raise input_error(
                f"{entry} is a table of {table}: its files also hold rows that the table no longer has",
                "write the table's current rows to a Parquet file with a reader of that format, and name that file",
            )
    if parts := [name for name in below if "=" in name.partition("/")[0] and "/" in name]:
        folder = parts[0].partition("/")[0]
        raise input_error(
            f"{entry} is partitioned: it holds folders such as {folder}, whose values are in no file",
            "write it as one table; or leave those values out: name the files by a pattern with **",
        )
    names = [name for name in below if name and "/" not in name and not name.startswith(".")]
    return [f"{folder}{name}" for name in of_format(names)]


def open_object(path: StorePath) -> tuple[Version, Spool]:
    """Return the present version of an object, and what reads it. Raises InvalidJob if it is not there."""
    storage = storage_of(path)
    version = storage.version(path)
    if version is None:
        raise input_error(f"no such object: {path}")
    return version, storage.spool(path, version)


def matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Return whether names from a directory down match the patterns, as `glob` reads them (`**` is any depth)."""
    if not patterns:
        return not names
    first, rest = patterns[0], patterns[1:]
    if first == "**" and matches(names, rest):
        return True
    if not names or (names[0].startswith(".") and not first.startswith(".")):
        return False
    return matches(names[1:], patterns) if first == "**" else fnmatchcase(names[0], first) and matches(names[1:], rest)
