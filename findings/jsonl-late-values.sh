#!/bin/sh
# polars 2.1.0, duckdb 2.0.1 and pyarrow 26.0.1 lose values of JSON Lines that come late in the file.
#
# polars takes the fields from the first 100 rows, and drops those that come later, also in the messages of a chat.
# duckdb takes the types from the first 20,480 rows: a column that was null until then stays null, and a number with a
# fraction is rounded to an integer. pyarrow makes doubles of all integers when one is above 2**63. Each is an error for
# other late values, so these pass for read. With the sample set to the whole file, polars and duckdb read all of it.
#
# For a batch: prompts are asked without their system message, labels are gone from the end, and ids name other rows.
#
#> polars 2.1.0
#>   system of the last row: "be brief" -> no such column
#>   name in its message: "Bob" -> no such field
#>   the same with the sample set: "be brief", "Bob"
#> duckdb 2.0.1
#>   label of the last row: "good" -> None
#>   score of the last row: 2.5 -> 2
#>   the same with the sample set: "good", 2.5
#> pyarrow 26.0.1
#>   id of the first row: 12345678901234567 -> 12345678901234568
. "$(dirname "$0")/support/check.sh"
install polars==2.1.0 duckdb==2.0.1 pyarrow==26.0.1
check <<'EOF'
import json
from importlib.metadata import version
from pathlib import Path

import duckdb
import polars as pl
from pyarrow.json import read_json


def write(name: str, count: int, usual: dict, last: dict) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in [*[usual] * count, last]), encoding="utf-8")
    return name


print("polars", version("polars"))
message = {"role": "user", "content": "Hello"}
named = {"system": "be brief", "messages": [message | {"name": "Bob"}]}
file = write("chats.jsonl", 100, {"messages": [message]}, named)
row = pl.read_ndjson(file).row(-1, named=True)
print('  system of the last row: "be brief" ->', row.get("system", "no such column"))
print('  name in its message: "Bob" ->', row["messages"][0].get("name", "no such field"))
row = pl.read_ndjson(file, infer_schema_length=None).row(-1, named=True)
print(f'  the same with the sample set: "{row["system"]}", "{row["messages"][0]["name"]}"')

print("duckdb", version("duckdb"))
file = write("labels.jsonl", 20480, {"label": None, "score": 1}, {"label": "good", "score": 2.5})
label, score = duckdb.sql(f"SELECT label, score FROM '{file}'").fetchall()[-1]
print('  label of the last row: "good" ->', label)
print("  score of the last row: 2.5 ->", score)
label, score = duckdb.sql(f"SELECT label, score FROM read_json('{file}', sample_size=-1)").fetchall()[-1]
print(f'  the same with the sample set: "{label}", {score}')

print("pyarrow", version("pyarrow"))
file = write("ids.jsonl", 1, {"id": 12345678901234567}, {"id": 2**63 + 1})
print("  id of the first row: 12345678901234567 ->", int(read_json(file)["id"][0].as_py()))
EOF
