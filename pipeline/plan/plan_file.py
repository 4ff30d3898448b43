"""The plan's file beside the journal.

It can always be made again from the input and the journal. While neither the input nor the settings change, it saves
rendering every row; while a part of the input does not, it saves that for the rows of this part.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipeline.journal.checks import is_count
from pipeline.journal.files import PLAN_NAME
from pipeline.plan.blocks import DIGEST_BYTES, Blocks
from pipeline.plan.keys import KEY_TYPE, KeyFile
from pipeline.plan.plan import Inventory, KnownFile, Plan
from pipeline.records import JsonObject
from pipeline.sources import Mark
from pipeline.storage import replacing

_FORMAT = b"llm-batch-pipeline plan 2\n"
_BYTES_PER_CHUNK = 2**20
_BYTES_OF_CRC = 4


def save_plan(plan: Plan, directory: Path) -> None:
    """Write the plan's file atomically. Raises OSError."""
    kept = plan.inventory
    header = {
        "number": plan.number,
        "fingerprint": plan.fingerprint,
        "digest": plan.digest,
        "rows": len(plan),
        "repeated": len(plan.repeated),
        "orphaned": plan.orphaned,
        "kept_empty": plan.kept_empty,
        "inventory": None if kept is None else _facts_of(kept),
    }
    with replacing(directory / PLAN_NAME, private=True) as draft, draft.open("wb") as file:
        file.write(_FORMAT)
        crc = 0
        text = json.dumps(header).encode() + b"\n"
        for part in chain((text, plan.latest.data, plan.repeated.data, plan.occurrences.data), _parts_of(kept)):
            crc = zlib.crc32(part, crc)
            file.write(part)
        file.write(crc.to_bytes(_BYTES_OF_CRC, "big"))


def _facts_of(kept: Inventory) -> JsonObject:
    return {
        "rules": kept.rules,
        "columns": kept.columns,
        "files": [[one.facts, one.rows, one.marks, one.beginning] for one in kept.files],
        "blocks": kept.blocks.rows,
        "key_width": kept.keys.width,
        "keys": kept.keys.count,
        "is_settled": kept.is_settled,
    }


def _parts_of(kept: Inventory | None) -> Iterator[bytes | memoryview]:
    if kept is not None:
        yield b"".join(kept.blocks.digests)
        for keys in kept.keys.parts():
            yield keys.data


def load_plan(directory: Path) -> Plan | None:
    """Return the plan that was saved last; None if there is none, or if it is damaged and has to be made again."""
    with suppress(OSError, ValueError, KeyError, TypeError), (directory / PLAN_NAME).open("rb") as file:
        return _load(file)
    return None


def _load(file: BinaryIO) -> Plan | None:
    if not _is_whole(file):
        return None
    file.seek(len(_FORMAT))
    header = json.loads(file.readline())
    rows, repeated, kept = header["rows"], header["repeated"], header["inventory"]
    counts = [rows, repeated, header["number"], header["orphaned"]]
    bytes_kept = 0
    if kept is not None:
        counts += [kept["keys"], kept["key_width"]]
        bytes_kept = DIGEST_BYTES * len(kept["blocks"]) + KEY_TYPE.itemsize * kept["keys"] * kept["key_width"]
    left = os.fstat(file.fileno()).st_size - file.tell() - _BYTES_OF_CRC
    if not all(map(is_count, counts)) or left != 8 * rows + 8 * repeated + bytes_kept:
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
        inventory=None if kept is None else _inventory(file, kept),
    )


def _inventory(file: BinaryIO, kept: JsonObject) -> Inventory:
    """Return what is kept of the input; its keys stay in the file."""
    digests = tuple(file.read(DIGEST_BYTES) for _ in kept["blocks"])
    keys = KeyFile(os.dup(file.fileno()), file.tell(), kept["keys"], kept["key_width"])
    return Inventory(
        str(kept["rules"]),
        str(kept["columns"]),
        tuple(
            KnownFile(list(facts), int(rows), tuple(Mark(*mark) for mark in marks), str(beginning))
            for facts, rows, marks, beginning in kept["files"]
        ),
        Blocks(digests, tuple(map(int, kept["blocks"]))),
        keys,
        bool(kept["is_settled"]),
    )


def _is_whole(file: BinaryIO) -> bool:
    """Return whether this is an intact plan of this format. Nothing in it is read before that is known."""
    if file.read(len(_FORMAT)) != _FORMAT:
        return False
    crc, left = 0, os.fstat(file.fileno()).st_size - len(_FORMAT) - _BYTES_OF_CRC
    while left > 0 and (chunk := file.read(min(left, _BYTES_PER_CHUNK))):
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
    return left == 0 and file.read() == crc.to_bytes(_BYTES_OF_CRC, "big")
