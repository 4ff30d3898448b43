#!/bin/sh
# Daft 0.7.26: a CASE whose condition is null gives null, in place of its ELSE.
#
# In SQL a condition that is null is not met, so the next branch or ELSE is taken. Daft ends there, also where a later
# branch asks for null. `when` and `otherwise` of its expressions do the same. duckdb, datafusion and polars take ELSE.
#
# For a batch: rows that were never asked get neither `ask` nor `keep`, and are in no part of the job.
#
#> statuses: ok, failed and null
#> CASE WHEN status = 'ok' THEN 'keep' ELSE 'ask' END
#>   Daft 0.7.26: keep, ask, null
#>   duckdb 2.0.1: keep, ask, ask
#>   datafusion 55.0.0: keep, ask, ask
#>   polars 2.1.0: keep, ask, ask
#> CASE WHEN status = 'ok' THEN 'keep' WHEN status IS NULL THEN 'new' ELSE 'ask' END
#>   Daft 0.7.26: keep, ask, null
#>   duckdb 2.0.1: keep, ask, new
#>   datafusion 55.0.0: keep, ask, new
#>   polars 2.1.0: keep, ask, new
#> when(status == "ok", "keep").otherwise("ask")
#>   Daft 0.7.26: keep, ask, null
. "$(dirname "$0")/support/check.sh"
install daft==0.7.26 duckdb==2.0.1 datafusion==55.0.0 polars==2.1.0 pyarrow==25.0.1
check <<'EOF'
from importlib.metadata import version

import daft
import duckdb
import polars as pl
import pyarrow as pa
from datafusion import SessionContext

CASES = (
    "CASE WHEN status = 'ok' THEN 'keep' ELSE 'ask' END",
    "CASE WHEN status = 'ok' THEN 'keep' WHEN status IS NULL THEN 'new' ELSE 'ask' END",
)
source = pa.table({"status": ["ok", "failed", None]})
context = SessionContext()
context.register_record_batches("source", [source.to_batches()])
engines = {
    "Daft": lambda query: daft.sql(query, source=daft.from_arrow(source)).to_pydict()["step"],
    "duckdb": lambda query: [step for (step,) in duckdb.execute(query).fetchall()],
    "datafusion": lambda query: context.sql(query).to_pydict()["step"],
    "polars": lambda query: pl.SQLContext(source=pl.from_arrow(source)).execute(query, eager=True)["step"].to_list(),
}


def tell(name: str, steps: list[str | None]) -> None:
    print(f"  {name} {version(name.lower())}:", ", ".join(step or "null" for step in steps))


print("statuses: ok, failed and null")
for case in CASES:
    print(case)
    for name, run in engines.items():
        tell(name, run(f"SELECT {case} AS step FROM source"))
print('when(status == "ok", "keep").otherwise("ask")')
step = daft.functions.when(daft.col("status") == "ok", daft.lit("keep")).otherwise(daft.lit("ask"))
tell("Daft", daft.from_arrow(source).select(step.alias("step")).to_pydict()["step"])
EOF
