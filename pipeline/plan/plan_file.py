"""The plan's file beside the journal.

It can always be made again from the input and the journal. While neither the input nor the settings change, it saves
rendering every row.
"""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.journal.checks import is_count
from pipeline.journal.files import PLAN_NAME
from pipeline.plan.plan import Plan
from pipeline.storage import replacing

_FORMAT = b"llm-batch-pipeline plan 1\n"
_BYTES_PER_CHUNK = 2**20
_BYTES_OF_CRC = 4


def save_plan(plan: Plan, directory: Path) -> None:
    """Write the plan's file atomically. Raises OSError."""
    header = {
        "number": plan.number,
        "fingerprint": plan.fingerprint,
        "digest": plan.digest,
        "rows": len(plan),
        "repeated": len(plan.repeated),
        "orphaned": plan.orphaned,
        "kept_empty": plan.kept_empty,
    }
    with replacing(directory / PLAN_NAME, private=True) as draft, draft.open("wb") as file:
        file.write(_FORMAT)
        crc = 0
        text = json.dumps(header).encode() + b"\n"
        for part in (text, plan.latest.data, plan.repeated.data, plan.occurrences.data):
            crc = zlib.crc32(part, crc)
            file.write(part)
        file.write(crc.to_bytes(_BYTES_OF_CRC, "big"))


def load_plan(directory: Path) -> Plan | None:
    """Return the plan that was saved last; None if there is none, or if it is damaged and has to be made again."""
    with suppress(OSError, ValueError, KeyError, TypeError), (directory / PLAN_NAME).open("rb") as file:
        if not _is_whole(file):
            return None
        file.seek(len(_FORMAT))
        header = json.loads(file.readline())
        rows, repeated = header["rows"], header["repeated"]
        left = os.fstat(file.fileno()).st_size - file.tell() - _BYTES_OF_CRC
        counts = (rows, repeated, header["number"], header["orphaned"])
        if not all(map(is_count, counts)) or left != 8 * rows + 8 * repeated:
            return None
        return Plan(
            number=header["number"],
            fingerprint=str(header["fingerprint"]),
            digest=str(header["digest"]),
            latest=np.fromfile(file, np.uint64, rows),
            repeated=np.fromfile(file, np.uint32, repeated),
            occurrences=np.fromfile(file, np.uint32, repeated),
            orphaned=header["orphaned"],
            kept_empty=bool(header["kept_empty"]),
        )
    return None


def _is_whole(file: BinaryIO) -> bool:
    """Return whether this is an intact plan of this format. Nothing in it is read before that is known."""
    if file.read(len(_FORMAT)) != _FORMAT:
        return False
    crc, left = 0, os.fstat(file.fileno()).st_size - len(_FORMAT) - _BYTES_OF_CRC
    while left > 0 and (chunk := file.read(min(left, _BYTES_PER_CHUNK))):
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
    return left == 0 and file.read() == crc.to_bytes(_BYTES_OF_CRC, "big")
