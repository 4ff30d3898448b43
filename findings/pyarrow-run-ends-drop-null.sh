#!/bin/sh
# pyarrow 26.0.1: drop_null keeps the nulls of a run-end encoded column.
#
# is_null and count see the nulls; drop_null does not, neither of the array nor of its table, and null_count is 0.
#
# For a batch: rows without a prompt are asked and paid for.
#
#> pyarrow 26.0.1
#> plain
#>   count of values: 2 of 4
#>   null_count:      2
#>   drop_null:       ['a', 'b']
#>   of the table:    ['a', 'b']
#> run-end encoded
#>   count of values: 2 of 4
#>   null_count:      0
#>   drop_null:       ['a', None, None, 'b']
#>   of the table:    ['a', None, None, 'b']
. "$(dirname "$0")/support/check.sh"
install pyarrow==26.0.1
check <<'EOF'
import pyarrow as pa
import pyarrow.compute as pc

print("pyarrow", pa.__version__)
plain = pa.array(["a", None, None, "b"])
for prompts in (plain, pc.run_end_encode(plain)):
    print("run-end encoded" if pa.types.is_run_end_encoded(prompts.type) else "plain")
    print("  count of values:", pc.count(prompts).as_py(), "of", len(prompts))
    print("  null_count:     ", prompts.null_count)
    print("  drop_null:      ", prompts.drop_null().to_pylist())
    print("  of the table:   ", pa.table({"prompt": prompts}).drop_null()["prompt"].to_pylist())
EOF
