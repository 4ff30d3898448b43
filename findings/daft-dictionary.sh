#!/bin/sh
# Daft 0.7.26: a dictionary or string_view column leaves Daft as pickled Python objects.
#
# The column type becomes "Python". Inside Daft the texts look right, so the damage shows first in the Parquet file,
# which holds bytes that only pickle reads. A pandas categorical takes the same path.
#
# For a batch: the prompt column of the file that is handed on is unreadable, and its text would be sent as bytes.
#
#> Daft 0.7.26
#> in Daft: {'plain': ['yes', 'no'], 'dictionary': ['yes', 'no'], 'view': ['yes', 'no']}
#> written plain: large_string, 'yes'
#> written dictionary: extension<daft.super_extension<DaftExtension>>, b'\x80\x05\x95\x07\x00\x00\x00\x00\x00\x00\x00\x8c\x03yes\x94.'
#> written view: extension<daft.super_extension<DaftExtension>>, b'\x80\x05\x95\x07\x00\x00\x00\x00\x00\x00\x00\x8c\x03yes\x94.'
. "$(dirname "$0")/support/check.sh"
install daft==0.7.26 pyarrow==25.0.1
check <<'EOF'
import glob
import os

os.environ["DAFT_PROGRESS_BAR"] = "0"
os.environ["DO_NOT_TRACK"] = "true"
import daft
import pyarrow as pa
import pyarrow.parquet as pq

print("Daft", daft.__version__)
columns = {"plain": pa.array(["yes", "no"]), "dictionary": pa.array(["yes", "no"]).dictionary_encode(),
           "view": pa.array(["yes", "no"], pa.string_view())}  # fmt: skip
frame = daft.from_arrow(pa.table(columns))
print("in Daft:", frame.to_pydict())
frame.write_parquet("out")
written = pq.read_table(glob.glob("out/*.parquet")[0])
for name in columns:
    print(f"written {name}: {written[name].type}, {written[name][0].as_py()!r}")
EOF
