#!/bin/sh
# Daft 0.7.26 and fflate 0.8.3 read the beginning only of a file that was compressed in parts.
#
# Compressed files can be joined with `cat`, and a log that is compressed as it grows is such a file too; the tools of
# each format read all of it. Daft reads gzip whole, and stops after the first part of zstd, bzip2 and xz without an
# error, also for CSV. `gunzipSync` of fflate for JavaScript gives as many bytes as the last part has, from the start of
# the first. `decompress` of zstandard stops after the first part, its `open` does not.
#
# For a batch: of prompts that were joined from four shards, the first quarter is asked, and the run is a success.
#
#> rows of a JSON Lines file of two parts, with 3 and with 2 rows
#> Daft 0.7.26: gz 5, zst 3, bz2 3, xz 3
#> fflate 0.8.3: gz 2
#> zstandard 0.25.0: decompress 3, open 5
#> polars 2.1.0: gz 5, zst 5
#> duckdb 2.0.1: gz 5, zst 5
. "$(dirname "$0")/support/check.sh"
install daft==0.7.26 polars==2.1.0 duckdb==2.0.1 zstandard==0.25.0
npm install --silent --no-audit --no-fund --prefix "$folder" fflate@0.8.3 >/dev/null
check <<'EOF'
import bz2
import gzip
import json
import lzma
import subprocess
from importlib.metadata import version
from pathlib import Path

import daft
import duckdb
import polars as pl
import zstandard

PROGRAM = 'process.stdout.write(require("fflate").gunzipSync(require("fs").readFileSync("rows.jsonl.gz")))'

first, second = ("".join(json.dumps({"id": id}) + "\n" for id in ids).encode() for ids in (range(3), range(3, 5)))
for ending, compress in (("gz", gzip.compress), ("zst", zstandard.ZstdCompressor().compress), ("bz2", bz2.compress),
                         ("xz", lzma.compress)):  # fmt: skip
    Path(f"rows.jsonl.{ending}").write_bytes(compress(first) + compress(second))


def tell(name: str, count, *endings: str) -> None:
    counts = ", ".join(f"{ending} {count(f'rows.jsonl.{ending}')}" for ending in endings)
    print(f"{name} {version(name.lower())}: {counts}")


print("rows of a JSON Lines file of two parts, with 3 and with 2 rows")
tell("Daft", lambda file: len(daft.read_json(file).to_pydict()["id"]), "gz", "zst", "bz2", "xz")
package = json.loads(Path("node_modules/fflate/package.json").read_text(encoding="utf-8"))
at_once = subprocess.run(["node", "--eval", PROGRAM], capture_output=True, check=True).stdout.splitlines()
print(f"fflate {package['version']}: gz {len(at_once)}")
at_once = zstandard.decompress(Path("rows.jsonl.zst").read_bytes()).splitlines()
with zstandard.open("rows.jsonl.zst", "rt", encoding="utf-8") as rows:
    print(f"zstandard {version('zstandard')}: decompress {len(at_once)}, open {len(list(rows))}")
tell("polars", lambda file: len(pl.read_ndjson(file)), "gz", "zst")
tell("duckdb", lambda file: len(duckdb.read_json(file)), "gz", "zst")
EOF
