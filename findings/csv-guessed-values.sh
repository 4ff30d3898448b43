#!/bin/sh
# duckdb 2.0.1 reads `yes` and `no` in CSV as booleans, and ids such as 0x0f as numbers; pyarrow 25.0.1 does the latter.
#
# A column whose values all fit is converted, also where they are quoted. So a column of labels is text in the file
# where one row is `unclear`, and boolean in the file where none is. Its text is then `true`, and an id loses its zeros.
#
# For a batch: the prompt says "was the answer True?", and answers that are joined by id find no row.
#
#> rows: 0x0f, "yes" and 0x10, "no"
#> duckdb 2.0.1: 15, True and 16, False
#> pyarrow 25.0.1: 15, yes and 16, no
#> polars 2.1.0: 0x0f, yes and 0x10, no
#> pandas 3.1.1: 0x0f, yes and 0x10, no
. "$(dirname "$0")/support/check.sh"
install duckdb==2.0.1 pyarrow==25.0.1 polars==2.1.0 pandas==3.1.1
check <<'EOF'
from importlib.metadata import version
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
from pyarrow.csv import read_csv

Path("rows.csv").write_text('id,label\n0x0f,"yes"\n0x10,"no"\n', encoding="utf-8")
print('rows: 0x0f, "yes" and 0x10, "no"')
for name, rows in (
    ("duckdb", duckdb.execute("FROM 'rows.csv'").fetchall()),
    ("pyarrow", [tuple(row.values()) for row in read_csv("rows.csv").to_pylist()]),
    ("polars", pl.read_csv("rows.csv").rows()),
    ("pandas", list(pd.read_csv("rows.csv").itertuples(index=False, name=None))),
):
    print(f"{name} {version(name)}:", " and ".join(f"{id}, {label}" for id, label in rows))
EOF
