#!/bin/sh
# deltalake 1.6.6: rows of other types are cast to those of the table without an error, and lose what does not fit.
#
# The documentation says that data whose schema differs from the one of the table is an error. It is one where a column
# is missing or a text is no number. A fraction is cut off, and a text of digits becomes a number. A merge compares its
# ids as they are and inserts them cast, so a new row 2.5 becomes a second row 2.
#
# For a batch: the scores of a second run are rounded down to 0, and the row `007` is now the row 7.
#
#> deltalake 1.6.6
#>   0.9 appended to [1]: [1, 0]
#>   '007' appended to [1]: [1, 7]
#>   id 2.5 merged into the ids [1, 2]: [1, 2, 2]
. "$(dirname "$0")/support/check.sh"
install deltalake==1.6.6 pyarrow==25.0.1
check <<'EOF'
from importlib.metadata import version

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake


def appended(name: str, value: float | str) -> list[int]:
    for values in ([1], [value]):
        write_deltalake(name, pa.table({"score": values}), mode="append")
    return DeltaTable(name).to_pyarrow_table()["score"].to_pylist()[::-1]


def merged(id: float) -> list[int]:
    write_deltalake("merged", pa.table({"id": [1, 2]}))
    source = pa.table({"id": [id]})
    merging = DeltaTable("merged").merge(source, "old.id = new.id", source_alias="new", target_alias="old")
    merging.when_matched_update_all().when_not_matched_insert_all().execute()
    return sorted(DeltaTable("merged").to_pyarrow_table()["id"].to_pylist())


print("deltalake", version("deltalake"))
print("  0.9 appended to [1]:", appended("fractions", 0.9))
print("  '007' appended to [1]:", appended("texts", "007"))
print("  id 2.5 merged into the ids [1, 2]:", merged(2.5))
EOF
