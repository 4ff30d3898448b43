#!/bin/sh
# duckdb 2.0.1, datafusion 55.0.0 and Daft 0.7.26: whether a filter keeps NaN depends on how the file was cut.
#
# All of them take NaN for greater than any number. The minimum and maximum that a Parquet file holds for each of its
# row groups leave NaN out, so a group is skipped that has only NaN above the bound. Where the groups are cut otherwise,
# or the file has no statistics, the row is kept. polars keeps it always.
#
# For a batch: a score of 0/0 is asked again or left out by chance, and a compacted table has other rows than before.
#
#> ids 1, 2 and 3 with the scores 1, NaN and 5: those above 5
#> duckdb 2.0.1: in memory [2], one row group [], three row groups [2], without statistics [2]
#> datafusion 55.0.0: in memory [2], one row group [], three row groups [], without statistics [2]
#> Daft 0.7.26: in memory [2], one row group [], three row groups [2], without statistics [2]
#> polars 2.1.0: in memory [2], one row group [2], three row groups [2], without statistics [2]
. "$(dirname "$0")/support/check.sh"
install duckdb==2.0.1 datafusion==55.0.0 daft==0.7.26 polars==2.1.0 pyarrow==25.0.1
check <<'EOF'
from importlib.metadata import version

import daft
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext

table = pa.table({"id": [1, 2, 3], "score": [1.0, float("nan"), 5.0]})
FILES = {
    "one row group": {},
    "three row groups": {"row_group_size": 1},
    "without statistics": {"write_statistics": False},
}


def file_of(cut: str) -> str:
    return cut.replace(" ", "-") + ".parquet"


def with_duckdb(file: str | None) -> list[int]:
    source = "table" if file is None else file
    return [id for (id,) in duckdb.execute(f"""SELECT id FROM "{source}" WHERE score > 5""").fetchall()]


def with_datafusion(file: str | None) -> list[int]:
    context = SessionContext()
    if file is None:
        context.register_record_batches("rows", [table.to_batches()])
    else:
        context.register_parquet("rows", file)
    return [row["id"] for row in context.sql("SELECT id FROM rows WHERE score > 5").to_pylist()]


def with_daft(file: str | None) -> list[int]:
    rows = daft.from_arrow(table) if file is None else daft.read_parquet(file)
    return rows.where(daft.col("score") > 5).to_pydict()["id"]


def with_polars(file: str | None) -> list[int]:
    rows = pl.from_arrow(table).lazy() if file is None else pl.scan_parquet(file)
    return rows.filter(pl.col("score") > 5).collect()["id"].to_list()


print("ids 1, 2 and 3 with the scores 1, NaN and 5: those above 5")
for cut, options in FILES.items():
    pq.write_table(table, file_of(cut), **options)
engines = {"duckdb": with_duckdb, "datafusion": with_datafusion, "Daft": with_daft, "polars": with_polars}
for name, above in engines.items():
    kept = [f"in memory {above(None)}", *(f"{cut} {above(file_of(cut))}" for cut in FILES)]
    print(f"{name} {version(name.lower())}: {', '.join(kept)}")
EOF
