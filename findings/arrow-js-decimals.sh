#!/bin/sh
# apache-arrow 21.2.0 for JavaScript: a decimal is given without its point, so 1234.56 is 123456.
#
# A value of a decimal column is an object that holds the digits. As a text, as a number and as JSON it is the digits
# alone. `valueOf` gives the value, but only to who passes it the scale from the type of the column. parquet-wasm hands
# its tables on to apache-arrow. hyparquet, which has its own reader, gives the value.
#
# For a batch: a cost column with two decimals is shown and summed a hundredfold, one with nine a billionfold.
#
#> written: 0.01, 1234.56
#> apache-arrow 21.2.0 with parquet-wasm 0.8.0
#>   as text: 1, 123456
#>   as number: 1, 123456
#>   as JSON: "1", "123456"
#>   valueOf(2): 0.01, 1234.56
#> hyparquet 1.33.0
#>   as text: 0.01, 1234.56
. "$(dirname "$0")/support/check.sh"
install pyarrow==26.0.1
npm install --silent --no-audit --no-fund --prefix "$folder" \
    apache-arrow@21.2.0 parquet-wasm@0.8.0 hyparquet@1.33.0 >/dev/null
check <<'EOF'
import json
import subprocess
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PROGRAM = """
import { tableFromIPC } from "apache-arrow";
import { readFileSync } from "fs";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { readParquet } from "parquet-wasm";
const wasm = readParquet(new Uint8Array(readFileSync("rows.parquet")));
const values = [...tableFromIPC(wasm.intoIPCStream()).getChild("cost")];
const read = await parquetReadObjects({ file: await asyncBufferFromFile("rows.parquet") });
console.log(JSON.stringify({
    "as text": values.map(String), "as number": values.map(Number).map(String),
    "as JSON": values.map((value) => JSON.parse(JSON.stringify(value))),
    "valueOf(2)": values.map((value) => String(value.valueOf(2))),
    hyparquet: read.map((row) => String(row.cost)),
}));
"""


def version(package: str) -> str:
    return json.loads(Path("node_modules", package, "package.json").read_text(encoding="utf-8"))["version"]


written = [Decimal("0.01"), Decimal("1234.56")]
pq.write_table(pa.table({"cost": pa.array(written, pa.decimal128(9, 2))}), "rows.parquet")
Path("read.mjs").write_text(PROGRAM, encoding="utf-8")
seen = json.loads(subprocess.run(["node", "read.mjs"], capture_output=True, text=True, check=True).stdout)
print("written:", ", ".join(map(str, written)))
print("apache-arrow", version("apache-arrow"), "with parquet-wasm", version("parquet-wasm"))
for name in ("as text", "as number", "as JSON", "valueOf(2)"):
    print(f"  {name}:", ", ".join(seen[name]))
print("hyparquet", version("hyparquet"))
print("  as text:", ", ".join(seen["hyparquet"]))
EOF
