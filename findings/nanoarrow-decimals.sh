#!/bin/sh
# nanoarrow 0.9.0: a negative decimal is read as a huge positive one.
#
# The digits of a decimal are taken for an unsigned number, so -0.01 is 2**128 - 1 hundredths. The result is then
# rounded to the digits of the type, so it does not even lead back. Other types are read with their sign.
#
# For a batch: a refund or a correction of one cent makes the sum of a cost column astronomical.
#
#> nanoarrow 0.9.0, decimal128(9, 2)
#>   0.01 -> 0.01
#>   -0.01 -> 3.40282367E+36
#>   -9.99 -> 3.40282367E+36
. "$(dirname "$0")/support/check.sh"
install nanoarrow==0.9.0 pyarrow==25.0.1
check <<'EOF'
from decimal import Decimal
from importlib.metadata import version

import nanoarrow
import pyarrow as pa

costs = [Decimal("0.01"), Decimal("-0.01"), Decimal("-9.99")]
read = nanoarrow.Array(pa.array(costs, pa.decimal128(9, 2))).to_pylist()
print(f"nanoarrow {version('nanoarrow')}, decimal128(9, 2)")
for written, value in zip(costs, read, strict=True):
    print(f"  {written} -> {value}")
EOF
