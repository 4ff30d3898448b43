"""Directories whose files are not the rows: tables that keep old versions, and columns that are in their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from pipeline.sources.places import input_error

_PARTITION = re.compile(r"[^=]+=.*")


def refuse_tables(directories: Iterable[str]) -> None:
    """Raise InvalidJob if a directory, or one above it, is a table of Delta Lake, Apache Iceberg or Apache Hudi.

    Files of older versions and deleted rows stay in such a directory; only the table's own log tells which count.
    """
    seen: set[str] = set()
    for directory in directories:
        place = os.path.abspath(directory)
        while place not in seen:
            seen.add(place)
            if (name := _table_format(place)) is not None:
                raise input_error(
                    f"{place} is a table of {name}: its files also hold rows that the table no longer has",
                    "write the table's current rows to a Parquet file with a reader of that format, and name that file",
                )
            place = os.path.dirname(place)


def refuse_partitions(directory: str, names: Sequence[str]) -> None:
    """Raise InvalidJob if a directory holds others that are named key=value: that column is in no file."""
    parts = [name for name in names if _PARTITION.fullmatch(name) and os.path.isdir(os.path.join(directory, name))]
    if parts:
        raise input_error(
            f"{directory} is partitioned: it holds directories such as {min(parts)}, whose values are in no file",
            f"write it as one table; or leave those values out: `{os.path.join(directory, '**', '*.parquet')}`",
        )


def _table_format(directory: str) -> str | None:
    if os.path.isdir(os.path.join(directory, "_delta_log")):
        return "Delta Lake"
    if os.path.isdir(os.path.join(directory, ".hoodie")):
        return "Apache Hudi"
    try:
        names = os.listdir(os.path.join(directory, "metadata"))
    except OSError:
        return None
    return "Apache Iceberg" if any(name.endswith(".metadata.json") for name in names) else None
