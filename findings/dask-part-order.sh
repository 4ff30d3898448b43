#!/bin/sh
# dask 2026.8.0: of a table that it wrote in more than ten parts, every other tool reads the rows in another order.
#
# The parts are named part.0, part.1 and so on, without zeros in front. dask reads them by number. pandas, pyarrow,
# polars and duckdb read them by name, so part.10 follows part.1. With ten parts, as in a first test, the two are the
# same.
#
# For a batch: answers that are put beside their table by position, or a run that goes on at a row number, meet other
# rows from the eleventh part on.
#
#> rows 0 to 11, one in each part, read by
#> dask 2026.8.0: 0 1 2 3 4 5 6 7 8 9 10 11
#> pandas 3.1.1: 0 1 10 11 2 3 4 5 6 7 8 9
#> pyarrow 25.0.1: 0 1 10 11 2 3 4 5 6 7 8 9
#> polars 2.1.0: 0 1 10 11 2 3 4 5 6 7 8 9
#> duckdb 2.0.1: 0 1 10 11 2 3 4 5 6 7 8 9
. "$(dirname "$0")/support/check.sh"
install 'dask[dataframe]==2026.8.0' pandas==3.1.1 pyarrow==25.0.1 polars==2.1.0 duckdb==2.0.1
check <<'EOF'
from importlib.metadata import version

import dask.dataframe as dd
import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq

dd.from_pandas(pd.DataFrame({"row": range(12)}), npartitions=12).to_parquet("rows")
print("rows 0 to 11, one in each part, read by")
for name, rows in (
    ("dask", dd.read_parquet("rows").compute()["row"].to_list()),
    ("pandas", pd.read_parquet("rows")["row"].to_list()),
    ("pyarrow", pq.read_table("rows")["row"].to_pylist()),
    ("polars", pl.read_parquet("rows/*.parquet")["row"].to_list()),
    ("duckdb", [row for (row,) in duckdb.execute("SELECT row FROM 'rows/*.parquet'").fetchall()]),
):
    print(f"{name} {version(name)}:", *rows)
EOF
