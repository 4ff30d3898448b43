#!/bin/sh
# deltalake 1.6.6 and pyiceberg 0.12.0 give the rows of the newest append first, so every row moves when rows are added.
#
# A table in either format promises no order. Both happen to keep the one of a single write, which is what a first test
# sees, and turn the appends around. lance gives the rows in the order in which they were written.
#
# For a batch: a run that goes on at row 3 after rows were added asks some rows twice and others never, and answers that
# are put beside a table by position stand beside other prompts.
#
#> deltalake 1.6.6
#>   after one write of a, b, c: a, b, c
#>   after d, e and then f were appended: f, d, e, a, b, c
#> pyiceberg 0.12.0
#>   after one write of a, b, c: a, b, c
#>   after d, e and then f were appended: f, d, e, a, b, c
#> pylance 14.0.2
#>   after one write of a, b, c: a, b, c
#>   after d, e and then f were appended: a, b, c, d, e, f
. "$(dirname "$0")/support/check.sh"
install deltalake==1.6.6 'pyiceberg[sql-sqlite]==0.12.0' pylance==14.0.2 pyarrow==26.0.1
check <<'EOF'
from importlib.metadata import version
from pathlib import Path

import lance
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.memory import InMemoryCatalog

catalog = InMemoryCatalog("catalog", warehouse=Path("warehouse").absolute().as_uri())
catalog.create_namespace("run")


def with_pyiceberg(rows: pa.Table) -> pa.Table:
    table = catalog.create_table_if_not_exists("run.prompts", schema=rows.schema)
    table.append(rows)
    return table.scan().to_arrow()


def with_deltalake(rows: pa.Table) -> pa.Table:
    write_deltalake("delta", rows, mode="append")
    return DeltaTable("delta").to_pyarrow_table()


def with_lance(rows: pa.Table) -> pa.Table:
    return lance.write_dataset(rows, "lance", mode="append").to_table()


for name, append in (("deltalake", with_deltalake), ("pyiceberg", with_pyiceberg), ("pylance", with_lance)):
    read = [append(pa.table({"prompt": list(letters)}))["prompt"].to_pylist() for letters in ("abc", "de", "f")]
    print(name, version(name))
    print("  after one write of a, b, c:", ", ".join(read[0]))
    print("  after d, e and then f were appended:", ", ".join(read[-1]))
EOF
