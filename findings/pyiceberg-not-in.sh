#!/bin/sh
# pyiceberg 0.12.0: a scan with `not in` finds rows with null when it names two values, and not when it names one.
#
# As in SQL, null is neither equal nor unequal to a value, so `status != 'ok'` leaves such rows out, and `not in` with
# one value is made the same. With two or more values a scan finds them. A delete under the same condition does not
# touch them, so it removes fewer rows than the scan has shown.
#
# For a batch: rows that were not asked yet have no status. They are asked again and again, or never, with the number of
# values in the list.
#
#> pyiceberg 0.12.0, statuses ok, failed and null
#>   status != 'ok': found failed; deleted failed
#>   status not in ('ok'): found failed; deleted failed
#>   status not in ('ok', 'refused'): found failed, null; deleted failed
. "$(dirname "$0")/support/check.sh"
install 'pyiceberg[sql-sqlite]==0.12.0' pyarrow==25.0.1
check <<'EOF'
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog.memory import InMemoryCatalog

STATUSES = ["ok", "failed", None]
catalog = InMemoryCatalog("catalog", warehouse=Path("warehouse").absolute().as_uri())
catalog.create_namespace("run")


def listed(statuses: list[str | None]) -> str:
    return ", ".join(status or "null" for status in statuses)


print(f"pyiceberg {version('pyiceberg')}, statuses ok, failed and null")
for number, condition in enumerate(("status != 'ok'", "status not in ('ok')", "status not in ('ok', 'refused')")):
    rows = pa.table({"status": STATUSES})
    table = catalog.create_table(f"run.rows{number}", rows.schema)
    table.append(rows)
    found = table.scan(row_filter=condition).to_arrow()["status"].to_pylist()
    table.delete(condition)
    left = table.scan().to_arrow()["status"].to_pylist()
    deleted = [status for status in STATUSES if status not in left]
    print(f"  {condition}: found {listed(found)}; deleted {listed(deleted)}")
EOF
