#!/bin/sh
# chdb 4.4.0: a query from Parquet to Parquet turns null lists and structs into empty ones, and bytes into text.
#
# ClickHouse has no null for arrays and tuples, and reads them as empty without being asked to. It marks binary columns
# as UTF-8 text on the way out, valid or not, so other readers fail on the column. Plain columns keep their nulls.
#
# For a batch: "not labeled yet" becomes "no label", a row without a conversation is asked, and images cannot be read.
#
#> chdb 4.4.0, pyarrow 26.0.1
#> text:   ['a', None] -> ['a', None]
#> labels: [['late'], None] -> [['late'], []]
#> reply:  [{'role': 'user'}, None] -> [{'role': 'user'}, {'role': None}]
#> photo:  [b'\xff\xd8', None] -> UnicodeDecodeError, the type is string
. "$(dirname "$0")/support/check.sh"
install chdb==4.4.0 pyarrow==26.0.1
check <<'EOF'
from importlib.metadata import version

import chdb
import pyarrow as pa
import pyarrow.parquet as pq

print(f"chdb {version('chdb')}, pyarrow {pa.__version__}")
columns = {"text": ["a", None], "labels": [["late"], None], "reply": [{"role": "user"}, None],
           "photo": [b"\xff\xd8", None]}  # fmt: skip
pq.write_table(pa.table({"id": [1, 2], **columns}), "rows.parquet")
chdb.query("SELECT * FROM file('rows.parquet') ORDER BY id INTO OUTFILE 'copy.parquet' FORMAT Parquet")
copy = pq.read_table("copy.parquet")
for name, values in columns.items():
    try:
        found = copy[name].to_pylist()
    except UnicodeDecodeError as error:
        found = f"{type(error).__name__}, the type is {copy[name].type}"
    print(f"{name + ':':7} {values} -> {found}")
EOF
