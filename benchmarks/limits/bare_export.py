"""Writes the rows of an output in another form, and does nothing else: bare_export.py OUTPUT.parquet FORMAT PATH

Prints a JSON object with `seconds` and `cpu`, without the imports.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

_ROWS = 10_000


def _rows(path: str) -> Iterator[dict[str, Any]]:
    for batch in pq.ParquetFile(path).iter_batches(_ROWS):
        yield from batch.to_pylist()


def _line(row: dict[str, Any], to: str) -> dict[str, Any]:
    if to == "messages":
        asked = {"role": "user", "content": row["prompt"]}
        return {"messages": [asked, {"role": "assistant", "content": row["response"]}]}
    return {"prompt": row["prompt"], "completion": row["response"]} if to == "prompt-completion" else row


def write(output: str, to: str, path: str) -> None:
    """Write the rows."""
    if to in ("parquet", "hf"):
        file = pq.ParquetFile(output)
        with pq.ParquetWriter(path, file.schema_arrow, compression="zstd") as writer:
            for batch in file.iter_batches(_ROWS):
                writer.write_batch(batch)
        return
    with open(path, "w", encoding="utf-8", newline="") as text:
        if to == "csv":
            table = csv.writer(text)
            table.writerow(pq.read_schema(output).names)
            table.writerows(row.values() for row in _rows(output))
        else:
            encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
            text.writelines(encode(_line(row, to)) + "\n" for row in _rows(output))


if __name__ == "__main__":
    began, used = time.perf_counter(), time.process_time()
    write(*sys.argv[1:])
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}))
