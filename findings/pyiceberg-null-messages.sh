#!/bin/sh
# pyiceberg 0.12.0: a null list of structs is written as an empty list, and a null list of texts as null.
#
# `append` makes the list anew from its offsets and its elements when the elements have fields, and leaves out which
# lists are null. The Parquet file of the table has no nulls in the column, so nothing that reads it can tell. A filter
# that would find them is refused for columns of lists.
#
# For a batch: rows whose conversation is missing come back as conversations without a message, and are asked.
#
#> pyiceberg 0.12.0
#> written: messages [[{'role': 'user', 'content': 'Hello'}], None, []], tags [['a'], None, []]
#> read:    messages [[{'role': 'user', 'content': 'Hello'}], [], []], tags [['a'], None, []]
#> nulls in the file: messages 0, tags 1
. "$(dirname "$0")/support/check.sh"
install 'pyiceberg[sql-sqlite]==0.12.0' pyarrow==26.0.1
check <<'EOF'
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.memory import InMemoryCatalog

rows = pa.table({
    "messages": pa.array([[{"role": "user", "content": "Hello"}], None, []]),
    "tags": pa.array([["a"], None, []]),
})  # fmt: skip


def told(table: pa.Table) -> str:
    return ", ".join(f"{name} {table[name].to_pylist()}" for name in table.column_names)


print("pyiceberg", version("pyiceberg"))
print("written:", told(rows))
folder = Path("warehouse").absolute()
catalog = InMemoryCatalog("catalog", warehouse=folder.as_uri())
catalog.create_namespace("run")
table = catalog.create_table("run.prompts", schema=rows.schema)
table.append(rows)
print("read:   ", told(table.scan().to_arrow()))
(file,) = folder.rglob("*.parquet")
print("nulls in the file:", ", ".join(f"{name} {pq.read_table(file)[name].null_count}" for name in rows.column_names))
EOF
