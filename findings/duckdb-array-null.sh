#!/bin/sh
# DuckDB 2.0.1: one null in a column of arrays makes a Parquet file whose column pyarrow 26.0.1 cannot read.
#
# FLOAT[2] is DuckDB's type for embeddings. DuckDB itself, polars and DataFusion read the file well, so the loss is
# seen late. Nothing read in pieces helps: the row group with the null fails as a whole. As FLOAT[], all is read.
#
# For a batch: a table with an embedding for all rows but one cannot be used by what reads with pyarrow.
#
#> duckdb 2.0.1, pyarrow 26.0.1, polars 2.1.0
#> FLOAT[2] without a null
#>   polars:  [[1.0, 2.0], [3.0, 4.0]]
#>   pyarrow: [[1.0, 2.0], [3.0, 4.0]]
#> FLOAT[2] with a null
#>   polars:  [[1.0, 2.0], None]
#>   pyarrow: ArrowInvalid: Length spanned by list offsets (3) larger than values array (length 2)
#> FLOAT[] with a null
#>   polars:  [[1.0, 2.0], None]
#>   pyarrow: [[1.0, 2.0], None]
. "$(dirname "$0")/support/check.sh"
install duckdb==2.0.1 pyarrow==26.0.1 polars==2.1.0
check <<'EOF'
import duckdb
import polars
import pyarrow
import pyarrow.parquet as pq

print(f"duckdb {duckdb.__version__}, pyarrow {pyarrow.__version__}, polars {polars.__version__}")
for kind, last, case in (
    ("FLOAT[2]", "[3, 4]", "FLOAT[2] without a null"),
    ("FLOAT[2]", "NULL", "FLOAT[2] with a null"),
    ("FLOAT[]", "NULL", "FLOAT[] with a null"),
):
    print(case)
    rows = f"(SELECT [1, 2]::{kind} AS embedding UNION ALL SELECT {last}::{kind})"
    duckdb.sql(f"COPY {rows} TO 'rows.parquet' (FORMAT parquet)")
    print("  polars: ", polars.read_parquet("rows.parquet")["embedding"].to_list())
    try:
        print("  pyarrow:", pq.read_table("rows.parquet")["embedding"].to_pylist())
    except pyarrow.ArrowInvalid as error:
        print("  pyarrow: ArrowInvalid:", error)
EOF
