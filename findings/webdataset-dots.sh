#!/bin/sh
# webdataset 1.0.2: rows whose keys have a dot are merged into one row when they are read.
#
# A row is the files of one name, and the name ends at its first dot. The writer takes any key, and writes all its
# files. The reader takes "v1.0" and "v1.1" for one row "v1" with the fields "0.txt" and "1.txt", and says nothing.
# A key that comes from a file name, a URL, a version or a decimal has a dot.
#
# For a batch: 5 rows are written, 3 are read, and those that were merged have none of the fields that are asked for.
#
#> webdataset 1.0.2
#> written: v1.0, v1.1, report.pdf-1, report.pdf-2, plain
#> read: v1 {'0.txt': 'prompt of v1.0', '1.txt': 'prompt of v1.1'}
#> read: report {'pdf-1.txt': 'prompt of report.pdf-1', 'pdf-2.txt': 'prompt of report.pdf-2'}
#> read: plain {'txt': 'prompt of plain'}
. "$(dirname "$0")/support/check.sh"
install webdataset==1.0.2
check <<'EOF'
from importlib.metadata import version

import webdataset

KEYS = ("v1.0", "v1.1", "report.pdf-1", "report.pdf-2", "plain")

print("webdataset", version("webdataset"))
with webdataset.TarWriter("rows.tar") as writer:
    for key in KEYS:
        writer.write({"__key__": key, "txt": f"prompt of {key}"})
print("written:", ", ".join(KEYS))
for row in webdataset.WebDataset("rows.tar", shardshuffle=False).decode():
    print("read:", row["__key__"], {name: value for name, value in row.items() if not name.startswith("__")})
EOF
