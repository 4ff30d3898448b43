#!/bin/sh
# pyarrow 26.0.1: unique, value_counts and null_encoding="encode" turn the nulls of a string_view column into "".
#
# The null becomes a second empty text in the same result. binary_view does the same; string and large_string are right.
#
# For a batch: asking each distinct prompt once buys an answer to an empty prompt that is nowhere in the input.
#
#> pyarrow 26.0.1
#> string
#>   unique:       ['a', None, 'b', '']
#>   value_counts: [('a', 1), (None, 2), ('b', 1), ('', 1)]
#>   encoded:      ['a', None, 'b', None, '']
#> string_view
#>   unique:       ['a', '', 'b', '']
#>   value_counts: [('a', 1), ('', 2), ('b', 1), ('', 1)]
#>   encoded:      ['a', '', 'b', '', '']
. "$(dirname "$0")/support/check.sh"
install pyarrow==26.0.1
check <<'EOF'
import pyarrow as pa
import pyarrow.compute as pc

print("pyarrow", pa.__version__)
for type in (pa.string(), pa.string_view()):
    prompts = pa.array(["a", None, "b", None, ""], type)
    print(type)
    print("  unique:      ", pc.unique(prompts).to_pylist())
    print("  value_counts:", [(count["values"], count["counts"]) for count in pc.value_counts(prompts).to_pylist()])
    print("  encoded:     ", prompts.dictionary_encode("encode").to_pylist())
EOF
