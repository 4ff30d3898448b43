#!/bin/sh
# deltalake 1.6.6: rows whose partition is an empty text are read as null by one of its readers, and not by the other.
#
# `to_pyarrow_table` gives null for them, and finds none when it is asked for the empty text. `QueryBuilder` of the same
# package gives the empty text, and so does polars. Without the partition, all of them do.
#
# For a batch: rows that were answered with nothing count as rows that were not answered, and are asked again.
#
#> deltalake 1.6.6, polars 2.1.0
#> by_label, written: ['good', '', None]
#>   to_pyarrow_table: ['good', None, None]
#>   asked for ''    : []
#>   QueryBuilder    : ['good', '', None]
#>   polars          : ['good', '', None]
#> as_one, written: ['good', '', None]
#>   to_pyarrow_table: ['good', '', None]
#>   asked for ''    : [2]
#>   QueryBuilder    : ['good', '', None]
#>   polars          : ['good', '', None]
. "$(dirname "$0")/support/check.sh"
install deltalake==1.6.6 pyarrow==26.0.1 polars==2.1.0
check <<'EOF'
from importlib.metadata import version

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder, write_deltalake

print(f"deltalake {version('deltalake')}, polars {version('polars')}")
rows = pa.table({"id": [1, 2, 3], "label": ["good", "", None]})
for name, partitions in (("by_label", ["label"]), ("as_one", None)):
    write_deltalake(name, rows, partition_by=partitions)
    table = DeltaTable(name)
    queried = QueryBuilder().register("rows", table).execute("SELECT * FROM rows ORDER BY id").read_all()
    print(f"{name}, written:", rows["label"].to_pylist())
    print("  to_pyarrow_table:", table.to_pyarrow_table().sort_by("id")["label"].to_pylist())
    print("  asked for ''    :", table.to_pyarrow_table(filters=[("label", "=", "")])["id"].to_pylist())
    print("  QueryBuilder    :", pa.table(queried)["label"].to_pylist())
    print("  polars          :", pl.read_delta(name).sort("id")["label"].to_list())
EOF
