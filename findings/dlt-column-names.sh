#!/bin/sh
# dlt 1.31.0: columns whose names differ in case or punctuation are merged, and one of their values is kept.
#
# Names are made lower case with underscores before anything is loaded, so `promptText`, `prompt_text` and `Prompt-Text`
# are one column. Where a row has several of them, the last one is kept. The load is a success and warns of nothing.
#
# For a batch: a row that came with `userId` and `user_id` from two sources loses one of them.
#
#> dlt 1.31.0
#> loaded: {'id': 1, 'promptText': 'first', 'prompt_text': 'second'}
#> stored: {'id': 1, 'prompt_text': 'second'}
#> loaded: {'id': 1, 'prompt_text': 'second', 'promptText': 'first'}
#> stored: {'id': 1, 'prompt_text': 'first'}
. "$(dirname "$0")/support/check.sh"
install 'dlt==1.31.0' duckdb==2.0.1
check <<'EOF'
import os
from importlib.metadata import version

os.environ.update(DLT_DATA_DIR="state", RUNTIME__DLTHUB_TELEMETRY="false")
import dlt

print("dlt", version("dlt"))
row = {"id": 1, "promptText": "first", "prompt_text": "second"}
for name, loaded in (("forth", row), ("back", {key: row[key] for key in ("id", "prompt_text", "promptText")})):
    pipeline = dlt.pipeline(name, destination=dlt.destinations.duckdb(f"{name}.duckdb"), dataset_name="run")
    pipeline.run([loaded], table_name="rows")
    print("loaded:", loaded)
    with pipeline.sql_client() as client, client.execute_query("SELECT * FROM rows") as found:
        names = [column[0] for column in found.description]
        (stored,) = found.fetchall()
    print("stored:", {key: value for key, value in zip(names, stored) if not key.startswith("_dlt")})
EOF
