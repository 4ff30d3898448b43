#!/bin/sh
# duckdb 2.0.1, Daft 0.7.26 and pyarrow 25.0.1 read texts in JSON as ids or times, and give others.
#
# In JSON a text is in quotes and a number is not, so there is nothing to guess. All the same, duckdb makes UUIDs of a
# column in which each text is one, and then its letters are small. All three make times, and duckdb and pyarrow give
# them in UTC: the offset is gone, and with pyarrow also the zone. polars and pandas leave the texts as they are.
#
# For a batch: ids in capitals find no row when answers are joined, and a prompt names another hour.
#
#> written: 550E8400-E29B-41D4-A716-446655440000 and 2026-01-02T01:30:00+02:00
#> duckdb 2.0.1: 550e8400-e29b-41d4-a716-446655440000 and 2026-01-01 23:30:00+00:00
#> pyarrow 25.0.1: 550E8400-E29B-41D4-A716-446655440000 and 2026-01-01 23:30:00
#> Daft 0.7.26: 550E8400-E29B-41D4-A716-446655440000 and 2026-01-02 01:30:00+02:00
#> polars 2.1.0: 550E8400-E29B-41D4-A716-446655440000 and 2026-01-02T01:30:00+02:00
#> pandas 3.1.1: 550E8400-E29B-41D4-A716-446655440000 and 2026-01-02T01:30:00+02:00
. "$(dirname "$0")/support/check.sh"
install duckdb==2.0.1 pyarrow==25.0.1 daft==0.7.26 polars==2.1.0 pandas==3.1.1
check <<'EOF'
import json
from importlib.metadata import version
from pathlib import Path

import daft
import duckdb
import pandas as pd
import polars as pl
from pyarrow.json import read_json

ROW = {"id": "550E8400-E29B-41D4-A716-446655440000", "said": "2026-01-02T01:30:00+02:00"}
Path("rows.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
duckdb.execute("SET TimeZone = 'UTC'")
print("written:", " and ".join(ROW.values()))
for name, row in (
    ("duckdb", duckdb.execute("FROM 'rows.jsonl'").fetchall()[0]),
    ("pyarrow", read_json("rows.jsonl").to_pylist()[0].values()),
    ("Daft", daft.read_json("rows.jsonl").to_pylist()[0].values()),
    ("polars", pl.read_ndjson("rows.jsonl").row(0)),
    ("pandas", pd.read_json("rows.jsonl", lines=True).iloc[0]),
):
    print(f"{name} {version(name.lower())}:", " and ".join(map(str, row)))
EOF
