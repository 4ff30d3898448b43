"""A bare copy of a journal's answers into one Parquet file: bare_copy.py JOURNAL OUTPUT PROMPTS

What the straightforward program does that has the same data to copy. Beforehand, and not timed, it learns the number
of each row's event, which a run has at hand as well. Then, timed: it reads the events in the order of the input, 1,000
a statement, decodes the JSON of each, and gathers the output's columns in lists, of the input's own only `id`; it
writes a row group of 50,000 rows at a time with pyarrow, compressed with zstd. No checksum is looked at, no id
compared, nothing is read back, synced or renamed. Prints its seconds, CPU seconds and rows.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.journal import State
from pipeline.journal.events import unpack_head, unpack_record
from pipeline.sink import RESULT_FIELDS

_EVENTS_A_STATEMENT = 1000
_ROWS_A_GROUP = 50_000
_SCHEMA = pa.schema([pa.field("id", pa.int64()), *RESULT_FIELDS])


def events_in_order(connection: sqlite3.Connection) -> list[int]:
    """Return the numbers of the answers' events, in the order of the input's rows."""
    found = []
    for seq, packed in connection.execute("SELECT seq, event FROM events"):
        _, _, position, state, *_ = unpack_head(seq, packed)
        if state == State.ANSWERED:
            found.append((position, seq))
    return [seq for _, seq in sorted(found)]


def copy(connection: sqlite3.Connection, events: list[int], ids: pa.ChunkedArray, model: str, output: str) -> None:
    """Write the rows of the events."""
    with pq.ParquetWriter(output, _SCHEMA, compression="zstd") as writer:
        for start in range(0, len(events), _ROWS_A_GROUP):
            columns: dict[str, list[Any]] = {field.name: [] for field in RESULT_FIELDS}
            for first in range(start, min(len(events), start + _ROWS_A_GROUP), _EVENTS_A_STATEMENT):
                part = events[first : first + _EVENTS_A_STATEMENT]
                marks = ",".join("?" * len(part))
                rows = dict(connection.execute(f"SELECT seq, event FROM events WHERE seq IN ({marks})", part))
                for seq in part:
                    _append(columns, seq, rows[seq], model)
            arrays = [pa.array(columns[field.name], field.type) for field in RESULT_FIELDS]
            carried = ids.slice(start, len(columns["row_id"])).combine_chunks()
            writer.write_table(pa.Table.from_arrays([carried, *arrays], schema=_SCHEMA))


def _append(columns: dict[str, list[Any]], seq: int, packed: bytes, model: str) -> None:
    facts, record = unpack_head(seq, packed), unpack_record(packed)
    derived = {
        "row_id": facts[4],
        "request_hash": facts[5],
        "status": "succeeded",
        "model": model,
        "cost_usd": record.cost_usd,
        "started_at": round((record.started_at or 0.0) * 1_000_000),
        "finished_at": round((record.finished_at or 0.0) * 1_000_000),
    }
    for name, values in columns.items():
        values.append(derived[name] if name in derived else getattr(record, name))


def main(journal: str, output: str, prompts: str) -> None:
    """Run the whole program."""
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    events = events_in_order(connection)
    ids = pq.read_table(prompts, columns=["id"])["id"]
    cpu, started = time.process_time(), time.perf_counter()
    copy(connection, events, ids, "meta/llama-4-scout-17b-16e-instruct", output)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "rows": len(events)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
