#!/bin/sh
# @dsnp/parquetjs 1.8.8: large unsigned integers are read as negative ones, and decimals as bytes.
#
# uint32 and uint64 are kept as signed integers with a note that they are not, and the reader does not look at the note.
# pyarrow's decimals are fixed-length bytes, and come back as a Buffer.
#
# For a batch: ids made from hashes name no row of the table of before, and a sum of costs is a text of bytes.
#
#> @dsnp/parquetjs 1.8.8
#> uint32:  1, 3000000000 -> 1, -1294967296
#> uint64:  1, 9223372036854775809 -> 1, -9223372036854775807
#> decimal: 0.01, 1234.56 -> bytes 00000001, bytes 0001e240
. "$(dirname "$0")/support/check.sh"
install pyarrow==26.0.1
npm install --silent --no-audit --no-fund --prefix "$folder" @dsnp/parquetjs@1.8.8 >/dev/null
check <<'EOF'
import subprocess
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PROGRAM = """
const { ParquetReader } = require("@dsnp/parquetjs");
(async () => {
    const reader = await ParquetReader.openFile("rows.parquet");
    const cursor = reader.getCursor();
    for (let row; (row = await cursor.next()); ) {
        console.log(Object.values(row).map((v) => (Buffer.isBuffer(v) ? "bytes " + v.toString("hex") : v)).join());
    }
    await reader.close();
})();
"""

columns = {
    "uint32": pa.array([1, 3_000_000_000], pa.uint32()),
    "uint64": pa.array([1, 2**63 + 1], pa.uint64()),
    "decimal": pa.array([Decimal("0.01"), Decimal("1234.56")], pa.decimal128(9, 2)),
}
package = Path("node_modules/@dsnp/parquetjs/package.json").read_text(encoding="utf-8")
print("@dsnp/parquetjs", package.partition('"version": "')[2].partition('"')[0].removeprefix("v"))
pq.write_table(pa.table(columns), "rows.parquet")
Path("read.js").write_text(PROGRAM, encoding="utf-8")
lines = subprocess.run(["node", "read.js"], capture_output=True, text=True, check=True).stdout.splitlines()
for (name, written), read in zip(columns.items(), zip(*(line.split(",") for line in lines), strict=True), strict=True):
    print(f"{name + ':':8} {', '.join(map(str, written.to_pylist()))} -> {', '.join(read)}")
EOF
