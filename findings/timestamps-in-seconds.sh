#!/bin/sh
# fastparquet 2026.9.0 writes times in seconds as times in 1970; datafusion 55.0.0 and Daft 0.7.26 as integers.
#
# Parquet has no times in seconds, and pandas and Arrow do. fastparquet writes the number of seconds and says that these
# are milliseconds. Its own reader raises an error, and all others give the wrong time. datafusion and Daft write a
# plain integer with the true type in a note that the readers of datafusion, Daft and polars look at, and pyarrow,
# pandas and duckdb do not. `to_timestamp_seconds` of datafusion makes such times. pyarrow writes milliseconds.
#
# For a batch: a prompt asks about a day in 1970, or shows a ten-digit number in the place of a date.
#
#> written: 2026-01-02 03:04:05
#> fastparquet 2026.9.0: pyarrow reads 1970-01-01 00:29:27.323000, duckdb 1970-01-01 00:29:27.323000
#> datafusion 55.0.0: pyarrow reads 1767323045, duckdb 1767323045
#> Daft 0.7.26: pyarrow reads 1767323045, duckdb 1767323045
#> pyarrow 25.0.1: pyarrow reads 2026-01-02 03:04:05, duckdb 2026-01-02 03:04:05
. "$(dirname "$0")/support/check.sh"
install fastparquet==2026.9.0 datafusion==55.0.0 daft==0.7.26 pyarrow==25.0.1 duckdb==2.0.1 pandas==3.1.1
check <<'EOF'
import warnings
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import daft
import duckdb
import fastparquet
import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext

warnings.simplefilter("ignore")
when = datetime(2026, 1, 2, 3, 4, 5)
table = pa.table({"when": pa.array([when], pa.timestamp("s"))})
print("written:", when)
for name, write in (
    ("fastparquet", lambda file: fastparquet.write(file, table.to_pandas())),
    ("datafusion", lambda file: SessionContext().from_arrow(table).write_parquet(file)),
    ("Daft", lambda file: daft.from_arrow(table).write_parquet(file)),
    ("pyarrow", lambda file: pq.write_table(table, file)),
):
    write(f"{name}.parquet")
    file = Path(f"{name}.parquet")
    file = next(file.glob("*.parquet")) if file.is_dir() else file
    with_pyarrow = pq.read_table(file)["when"][0].as_py()
    with_duckdb = duckdb.execute(f"SELECT * FROM '{file}'").fetchone()[0]
    print(f"{name} {version(name.lower())}: pyarrow reads {with_pyarrow}, duckdb {with_duckdb}")
EOF
